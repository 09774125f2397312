"""Creates files and folders that only their owner can read, for any umask: they hold calls, numbers and keys."""

import contextlib
import os
import stat
from pathlib import Path
from typing import Any

FILE_MODE = 0o600
FOLDER_MODE = 0o700
OWN_FILES = (
    *("admin-password", "anchor-key*", "listeners.*", "postgresql.l*", "postgresql.users", "redaction-key", "up.lock"),
    *("spool/*.sqlite*", "spool/*.spool*", "spool/*.probe*"),
)
"""Ringledger's files in a data directory; all other files there belong to the user."""
PASSAGE_MODE = 0o710
"""Mode of a data directory with a PostgreSQL of another user: its group may traverse but not list it."""


def open_private(file: Path, mode: str, encoding: str | None = None) -> Any:
    """Open a file for writing, as ``open`` does, with mode 0600 from its first byte on. Raises OSError."""
    return open(file, mode, encoding=encoding, opener=_opener)


def _opener(path: str, flags: int) -> int:
    handle = os.open(path, flags, FILE_MODE)
    _narrow(handle, FILE_MODE)
    return handle


def make_folder(folder: Path) -> None:
    """Create a folder and its missing parents with mode 0700; existing ones stay the same. Raises OSError."""
    for one in [*reversed(folder.parents), folder]:
        if not one.is_dir():
            with contextlib.suppress(FileExistsError):  # another process was first
                one.mkdir(mode=FOLDER_MODE)
    folder.mkdir(exist_ok=True)


def make_data_folder(data: Path) -> None:
    """Create the data directory, or restrict an existing one and Ringledger's files in it. Raises OSError.

    PostgreSQL restricts its own folder.
    """
    make_folder(data)
    status = data.stat()
    # A folder such as /tmp is shared by all users.
    if status.st_mode & stat.S_ISVTX or status.st_uid != os.geteuid():
        return
    if stat.S_IMODE(status.st_mode) != PASSAGE_MODE:
        _narrow(data, FOLDER_MODE)
    for file in [file for pattern in OWN_FILES for file in data.glob(pattern)]:
        with contextlib.suppress(FileNotFoundError):  # a running process may delete one
            if file.is_file() and not file.is_symlink():
                _narrow(file, FILE_MODE)


def give_passage(folder: Path, group: int) -> None:
    """Let a group traverse a folder without listing it."""
    os.chown(folder, -1, group)
    folder.chmod(PASSAGE_MODE)


def _narrow(place: int | Path, most: int) -> None:
    mode = stat.S_IMODE(os.stat(place).st_mode)  # noqa: PTH116 (an open file too)
    if mode & ~most & 0o777:
        with contextlib.suppress(PermissionError):  # its owner decides
            os.chmod(place, mode & most)  # noqa: PTH101
