"""Files and folders that only their owner can read, whatever the umask: they hold calls, numbers and keys."""

import contextlib
import os
import stat
from pathlib import Path
from typing import Any

FILE = 0o600
FOLDER = 0o700
OURS = (
    *("admin-password", "anchor-key*", "listeners.*", "postgresql.l*", "postgresql.users", "redaction-key", "up.lock"),
    *("spool/*.sqlite*", "spool/*.spool*", "spool/*.probe*"),
)
"""What Ringledger keeps in a data directory; anything else there is the user's."""
PASSAGE = 0o710
"""Of a data directory below which a PostgreSQL runs as another user: its group may pass through, and not list it."""


def open_private(file: Path, mode: str, encoding: str | None = None) -> Any:
    """Open a file to write, as ``open`` does, with mode 0600 from its first byte on. Raises OSError."""
    return open(file, mode, encoding=encoding, opener=_opener)


def _opener(path: str, flags: int) -> int:
    handle = os.open(path, flags, FILE)
    _narrow(handle, FILE)
    return handle


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, mode 0700; one that is there stays as it is. Raises OSError."""
    for one in [*reversed(folder.parents), folder]:
        if not one.is_dir():
            with contextlib.suppress(FileExistsError):  # another process was first
                one.mkdir(mode=FOLDER)
    folder.mkdir(exist_ok=True)


def make_data_folder(data: Path) -> None:
    """Make the data directory, or narrow one that an older version made, with our files in it. Raises OSError.

    PostgreSQL itself keeps its folder to its owner.
    """
    make_folder(data)
    status = data.stat()
    # A folder like /tmp belongs to everybody.
    if status.st_mode & stat.S_ISVTX or status.st_uid != os.geteuid():
        return
    if stat.S_IMODE(status.st_mode) != PASSAGE:
        _narrow(data, FOLDER)
    for file in [file for pattern in OURS for file in data.glob(pattern)]:
        with contextlib.suppress(FileNotFoundError):  # a process that runs may take one away
            if file.is_file() and not file.is_symlink():
                _narrow(file, FILE)


def give_passage(folder: Path, group: int) -> None:
    """Let a group pass through a folder of ours without listing it."""
    os.chown(folder, -1, group)
    folder.chmod(PASSAGE)


def _narrow(place: int | Path, most: int) -> None:
    mode = stat.S_IMODE(os.stat(place).st_mode)  # noqa: PTH116 (an open file too)
    if mode & ~most & 0o777:
        with contextlib.suppress(PermissionError):  # its owner decides
            os.chmod(place, mode & most)  # noqa: PTH101
