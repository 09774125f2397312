"""Files to import, read whole before anything is written: what kind, which content, what damage."""

from collections.abc import Sequence
from hashlib import file_digest
from pathlib import Path
from typing import Literal

from msgspec import Struct

from services.runtime.progress import Bar
from services.transfer.ami_blocks import ami
from services.transfer.asterisk_files import Damage, Kind, LinesError, lines

AnyKind = Literal["ami"] | Kind

WAY_OUT = "--skip-damaged imports the rest and lists what is left out"


class Content(Struct, frozen=True):
    """A file that was read whole and found good; ``local`` says that it has times without a zone.

    ``damage`` is what it holds besides, and was left out; None where nothing may be.
    """

    path: Path
    kind: AnyKind
    sha256: str
    events: int
    local: bool
    damage: Damage | None = None

    @property
    def spared(self) -> Damage | None:
        """Return where to put damage that is known already."""
        return None if self.damage is None else []

    @property
    def connection(self) -> int:
        """Return the number of the connection that its events come under."""
        return int(self.sha256[:16], 16) >> 1


def read(path: Path, kind: AnyKind, *, skip_damaged: bool = False) -> Content:
    """Read a file whole. Raises LinesError if it is not of that kind to its end; damage may be left out."""
    count, local = 0, False
    damage: Damage | None = [] if skip_damaged else None
    try:
        with path.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
        if kind == "ami":
            count = sum(1 for _ in ami(path, 0.0, damage))
        else:
            for line in lines(path, kind, damage):
                count += 1
                local |= line.at is None
    except OSError as error:
        raise LinesError(f"{path}: {error.strerror}") from None
    except LinesError as error:
        raise LinesError(f"{error}; {WAY_OUT}") from None
    if not count:
        raise LinesError(f"{path} holds no whole record" if damage else f"{path} is empty")
    return Content(path, kind, digest, count, local, damage)


def checked(paths: Sequence[Path], kind: AnyKind, *, skip_damaged: bool = False) -> list[Content]:
    """Read all files whole, before anything is written. Raises LinesError."""
    with Bar("checking") as progress:
        found: list[Content] = []
        for path in paths:
            found.append(read(path, kind, skip_damaged=skip_damaged))
            progress.show(len(found), len(paths))
    return found
