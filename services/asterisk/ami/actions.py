"""One AMI action and its response; an error response is raised with Asterisk's own text."""

from panoramisk.message import Message

from schemas.acts import Reason
from services.asterisk.ami.pending_action import drop_item
from services.asterisk.ami.session import Session

ABSENT_PREFIXES = ("No such", "Module not found")
"""Start of Asterisk 16's and 22's text for a missing channel or module; no header states it."""
MAX_LINE_BYTES = 1000
"""Asterisk refuses a message with a line of 1,023 bytes. If that line precedes the ActionID, the refusal has no
ActionID."""
MAX_LINES = 100
"""Asterisk refuses a message of more than about 125 lines."""


class RefusedError(Exception):
    """Asterisk refused the action; the message is its own text."""

    def __init__(self, message: str, reason: Reason = "refused") -> None:
        super().__init__(message)
        self.reason = reason


async def send_action(session: Session, action: str, /, **headers: str | list[str]) -> Message:
    """Send an action and return the response; a list becomes one header, repeated.

    Raises RefusedError, LinkLostError or TimeoutError.
    """
    lines = [
        f"{name}: {one}" for name, value in headers.items() for one in ([value] if isinstance(value, str) else value)
    ]
    if len(lines) > MAX_LINES or any(len(line.encode()) > MAX_LINE_BYTES for line in lines):
        raise RefusedError(f"an AMI action has at most {MAX_LINES} lines of {MAX_LINE_BYTES} bytes", "invalid")
    if any(letter in line for line in lines for letter in "\r\n\0"):
        raise RefusedError("CR, LF and NUL cannot be part of an AMI action", "invalid")
    response = (await session.request(action, "", drop_item, **headers))[0]
    if not response.success:
        refusal = str(response.message or "Asterisk refused the action without a reason")
        raise RefusedError(refusal, "absent" if refusal.startswith(ABSENT_PREFIXES) else "refused")
    return response
