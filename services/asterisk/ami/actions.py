"""One AMI action and its answer, where an error is raised with Asterisk's own words."""

from panoramisk.message import Message

from schemas.acts import Reason
from services.asterisk.ami.question import drop_item
from services.asterisk.ami.session import Session

ABSENT = ("No such", "Module not found")
"""How Asterisk 16 and 22 begin to say that there is no such channel or module; no header says it."""
LONGEST_LINE = 1000
"""Bytes. Asterisk refuses a message with a line of 1,023, and if that stands before the ActionID, not by name."""
MOST_LINES = 100
"""Asterisk refuses a message of more than some 125."""


class RefusedError(Exception):
    """Asterisk did not do it; the message is its own."""

    def __init__(self, message: str, reason: Reason = "refused") -> None:
        super().__init__(message)
        self.reason = reason


async def done(session: Session, action: str, /, **headers: str | list[str]) -> Message:
    """Send an action and return the response; a list is one header, repeated.

    Raises RefusedError, LinkLostError or TimeoutError.
    """
    lines = [
        f"{name}: {one}" for name, value in headers.items() for one in ([value] if isinstance(value, str) else value)
    ]
    if len(lines) > MOST_LINES or any(len(line.encode()) > LONGEST_LINE for line in lines):
        raise RefusedError(f"too long for an action of AMI: {LONGEST_LINE} bytes a line, {MOST_LINES} lines", "invalid")
    if any(letter in line for line in lines for letter in "\r\n\0"):
        raise RefusedError("CR, LF and NUL cannot be part of an action of AMI", "invalid")
    message = (await session.ask(action, "", drop_item, **headers))[0]
    if not message.success:
        words = str(message.message or "Asterisk refused the action without a word")
        raise RefusedError(words, "absent" if words.startswith(ABSENT) else "refused")
    return message
