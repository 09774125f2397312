"""The result of ``ringledger archive``, and its text."""

from msgspec import Struct

from services.retention.archive_files import ArchiveFile


class ArchiveResult(Struct, frozen=True):
    """The files that were written, the new first position of the log, and the months whose tables were dropped."""

    files: list[ArchiveFile]
    first_position: int
    dropped: list[str]


def report_lines(result: ArchiveResult) -> list[str]:
    """Return the lines to print."""
    lines = [
        f"{one.path}: {one.manifest.events} events in {one.manifest.batches} batches, positions {one.month.first} to"
        f" {one.month.last}"
        for one in result.files
    ]
    if result.files:
        lines.append(
            f"archived; the log starts at position {result.first_position}. Keep these files and their manifests"
        )
    if result.dropped:
        lines.append(f"dropped the tables of {', '.join(result.dropped)}")
    return lines
