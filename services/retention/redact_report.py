"""The result of ``ringledger redact``, and its text."""

from collections import Counter

from msgspec import Struct, field


class Redaction(Struct):
    """The redacted events by (PBX, name), or in a dry run the events to redact, and the positions of the outer ones.

    ``unchanged`` counts events with the same characters as a part of something else. ``models`` were rebuilt, or in a
    dry run contain the text. ``archived`` are files and tables of archived months, which are not changed.
    """

    token: str
    events: Counter[tuple[str, str]] = field(default_factory=Counter)
    first: int = 0
    last: int = 0
    unchanged: int = 0
    models: list[str] = field(default_factory=list)
    archived: list[str] = field(default_factory=list)

    def count(self, pbx: str, name: str, position: int) -> None:
        """Count one event."""
        self.events[pbx, name] += 1
        self.first = min(self.first or position, position)
        self.last = max(self.last, position)


def report(redaction: Redaction, *, dry_run: bool = False) -> str:
    """Return the lines to print."""
    lines = []
    if events := redaction.events.total():
        positions = f"(positions {redaction.first} to {redaction.last}):"
        lines.append(
            f"{events} events contain it {positions}"
            if dry_run
            else f"{redaction.token}: {events} events redacted {positions}"
        )
        for (pbx, name), count in sorted(redaction.events.items(), key=lambda item: (-item[1], item[0])):
            lines.append(f"  {count:>9}  {name}{f' of {pbx}' if pbx else ''}")
    if redaction.models:
        verb = "read models that contain it" if dry_run else "read models rebuilt"
        lines.append(f"{verb}: {', '.join(redaction.models)}")
    if not lines:
        lines.append("nothing to do: neither the log nor a read model contains it")
    if redaction.unchanged:
        lines.append(f"{redaction.unchanged} events contain the same characters within something else; left unchanged")
    if redaction.archived:
        lines.append(f"not searched, and may contain it: {', '.join(redaction.archived)}")
    return "\n".join(lines)
