"""One AMI action and its answer, where an error is raised with Asterisk's own words."""

from panoramisk.message import Message

from schemas.acts import Reason
from services.ami.session import Session


class RefusedError(Exception):
    """Asterisk did not do it; the message is its own."""

    def __init__(self, message: str, reason: Reason = "refused") -> None:
        super().__init__(message)
        self.reason = reason


async def done(session: Session, action: str, **headers: str) -> Message:
    """Send an action and return the response. Raises RefusedError, LinkLostError or TimeoutError.

    Asterisk 16 and 22 tell "there is no such thing" from other errors by their English only.
    """
    message = (await session.ask(action, **headers))[0]
    if not message.success:
        words = str(message.message or "Asterisk refused the action without a word")
        raise RefusedError(words, "absent" if words.lower().startswith("no such") else "refused")
    return message
