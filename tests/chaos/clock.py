"""The clock of `ringledger up` and all that it starts, PostgreSQL too, as on one machine: libfaketime sets it back.

The machine's own clock stays. libfaketime adds an offset to what each process reads of the wall clock, and leaves the
monotonic clock alone. Every process reads the offset from one file at each look at the clock, so all change at once.

libfaketime 0.9.10 also replaces the functions that wait. Its ``clock_nanosleep`` refuses Python's ``time.sleep``, and
while a process waits, signal handlers get the true time: a PostgreSQL that waits for a lock then ends all time limits
at its first alarm. In the run's copy of the library those functions have other names, so processes call the C library.
"""

import contextlib
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.debian import unpack
from tests.support.polling import present

if TYPE_CHECKING:
    from tests.chaos.scene import Scene

PACKAGE = "libfaketime"
LIBRARY = "usr/lib/*/faketime/libfaketimeMT.so.1"
"""The build for threads. It blocks signals while it reads the file: a handler may look at the clock too."""
SHARED = Path("/dev/shm")
BACK_SECONDS = 12 * 3600
"""How much each strike sets it back: twice the longest run, so that no time is of two eras."""
WAITS = (
    b"clock_nanosleep nanosleep usleep sleep alarm ppoll poll epoll_wait epoll_pwait pselect select sem_timedwait "
    b"pthread_cond_timedwait"
).split()
SNAPSHOT_SECONDS = 300.0
"""Within 65 s the listener begins to ask for the lists; a busy machine takes a while for them."""
SNAPSHOT = """
SELECT max(position) FROM event
WHERE pbx = 'pbx' AND source = 'ringledger' AND name = 'SnapshotCompleted' AND position > $1
"""


class ClockError(Exception):
    """This machine has no libfaketime."""


class Eras:
    """When the clock was set back, and to what; `true` turns a time that it gave into the true one."""

    def __init__(self, began: float) -> None:
        self._eras = [(began, 0)]

    @property
    def offset(self) -> int:
        """The difference to the true time, in seconds."""
        return self._eras[-1][1]

    def set_back(self, at: float, seconds: int) -> None:
        """Begin an era at the true time ``at``."""
        self._eras.append((at, self.offset - seconds))

    def true(self, written: float) -> float:
        """Return the true time, by the era within which it falls, or that is nearest to it."""
        began = self._eras[0][0]
        ends = [start for start, _ in self._eras[1:]] + [began + BACK_SECONDS / 2]
        times = [
            (max(start - (written - offset), written - offset - end, 0.0), written - offset)
            for (start, offset), end in zip(self._eras, ends, strict=True)
        ]
        return min(times)[1]


class FakeClock:
    """The clock of what is started with its ``environ``; ``eras`` are what it was set to."""

    def __init__(self, folder: Path) -> None:
        self.eras = Eras(time.time())
        self._folder = folder
        self._file = folder / "clock"

    @property
    def environ(self) -> dict[str, str]:
        """The environment that gives a process and its children this clock."""
        self._write()
        return {
            "LD_PRELOAD": str(self._library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_NO_CACHE": "1",
        }

    def set_back(self, seconds: int = BACK_SECONDS) -> None:
        """Set it back."""
        self.eras.set_back(time.time(), seconds)
        self._write()

    def close(self) -> None:
        """Remove the shared memory that libfaketime made for killed processes."""
        for file in SHARED.glob("*faketime_s[eh]m_*"):
            if not Path("/proc", file.name.rpartition("_")[2]).exists():
                with contextlib.suppress(PermissionError):  # of another user
                    file.unlink(missing_ok=True)

    def _write(self) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(f"{self.eras.offset:+d}\n", encoding="ascii")
        new.chmod(0o644)  # PostgreSQL's user reads it
        new.rename(self._file)

    def _library(self) -> Path:
        """Return a copy of the machine's library, or of the one in Debian's package, that leaves waiting alone.

        Raises ClockError.
        """
        library = next(Path("/").glob(LIBRARY), None)
        if library is None:
            try:
                (library,) = unpack(self._folder / "apt", PACKAGE).glob(LIBRARY)
            except (OSError, ValueError, AssertionError) as error:
                raise ClockError(f"the clock is set back by libfaketime, install {PACKAGE}: {error}") from None
        data = library.read_bytes()
        for name in WAITS:
            # The first place has the exported name. A name that ends another one (sleep, usleep) shares its place.
            data = data.replace(b"\0%s\0" % name, b"\0%s\0" % name.upper(), 1)
        copy = self._folder / library.name
        copy.write_bytes(data)
        return copy


async def set_back(scene: "Scene", _dice: random.Random) -> str:
    """Set the clock back, and wait for the next lists and complete views."""

    async def find_snapshot() -> int | None:
        at: int | None = await scene.fetch(SNAPSHOT, position)
        return at

    position = await present(lambda: scene.fetch("SELECT position FROM head"), "the log has an end")
    scene.clock.set_back()
    began = time.monotonic()
    await present(find_snapshot, "a snapshot by the clock that was set back", SNAPSHOT_SECONDS)
    await present(scene.complete, "views are complete by the clock that was set back", SNAPSHOT_SECONDS)
    return f"to {scene.clock.eras.offset / 3600:.0f} h, lists were asked for {time.monotonic() - began:.0f} s later"
