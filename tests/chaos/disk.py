"""A small disk for the spool, which can be filled: a tmpfs of its own."""

import contextlib
import errno
import subprocess
from pathlib import Path

MEGABYTES = 200
PIECE = bytes(1 << 20)


class DiskError(Exception):
    """This machine does not let us mount a disk of our own."""


class SpoolDisk:
    """The folder of the spool as a file system of its own."""

    def __init__(self, folder: Path) -> None:
        self._is_mounted = False
        self._folder = folder

    def mount(self) -> None:
        """Mount it, before anything writes there. Raises DiskError."""
        self._folder.mkdir(parents=True)
        options = f"size={MEGABYTES}m,mode=0700"
        mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self._folder)]
        result = subprocess.run(mount, check=False, capture_output=True, text=True)
        if result.returncode:
            raise DiskError(f"a full disk is a tmpfs, which only root may mount: {result.stderr.strip()}")
        self._is_mounted = True

    def fill(self) -> None:
        """Leave no byte."""
        with (self._folder / "ballast").open("ab", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(PIECE)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def free(self) -> None:
        """Leave all of it."""
        (self._folder / "ballast").unlink()

    def unmount(self) -> None:
        """Take it away, with all that is left there."""
        if self._is_mounted:
            self._is_mounted = False
            with contextlib.suppress(subprocess.CalledProcessError):
                subprocess.run(["umount", "--lazy", str(self._folder)], check=True, capture_output=True)
