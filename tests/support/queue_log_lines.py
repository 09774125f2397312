"""Reads the lines of a queue_log file, for the readers of passages and of sessions."""

from dataclasses import dataclass


@dataclass
class Line:
    at: float
    call: str
    queue: str
    agent: str
    event: str
    data: list[str]

    def number(self, place: int) -> int | None:
        """Return a number of the data; None if an older Asterisk did not write it."""
        inside = -len(self.data) <= place < len(self.data)
        return int(self.data[place]) if inside and self.data[place].isdecimal() else None


def read_lines(text: str) -> list[Line]:
    """Return all lines of a file."""
    columns = [line.split("|") for line in text.splitlines() if line.count("|") >= 4]
    return [Line(float(c[0]), c[1], c[2], c[3] if c[3] != "NONE" else "", c[4], c[5:]) for c in columns]
