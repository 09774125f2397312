"""Refusals in words that no dialect owns: use cases raise them, and `api/http/errors.py` decides the HTTP status.

They are here, below `services.commands`, because `services.accounts` raises them too.
"""

from collections.abc import Mapping
from typing import Any, Literal


class CommandError(Exception):
    """Base of all refusals.

    ``details`` are members of the response besides the message. ``position`` is a log position that belongs to the
    refusal, ``request_id`` the id of the refused request, and ``location`` the path of what exists already.
    """

    def __init__(
        self,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        position: int | None = None,
        request_id: str = "",
        location: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = dict(details or {})
        self.position = position
        self.request_id = request_id
        self.location = location


class NotFound(CommandError):
    """The named thing does not exist, or does not belong to the caller."""


class Conflict(CommandError):
    """The current state does not allow the change."""


class KeyReused(Conflict):
    """The Idempotency-Key belongs to an earlier, different request."""


class Invalid(CommandError):
    """A value is missing, malformed or ambiguous."""


class Forbidden(CommandError):
    """The caller lacks a permission."""


class Unauthenticated(CommandError):
    """The caller is unknown. ``scheme`` is the authentication scheme to use."""

    def __init__(self, message: str, scheme: Literal["", "basic", "bearer"] = "") -> None:
        super().__init__(message)
        self.scheme = scheme


class TooMany(CommandError):
    """The caller must wait ``retry_after`` seconds before the next attempt."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("too many attempts")
        self.retry_after = retry_after


class NotReady(CommandError):
    """The service cannot do this now, and can after about ``retry_after`` seconds."""

    def __init__(self, message: str, *, retry_after: float = 1.0, **more: Any) -> None:
        super().__init__(message, **more)
        self.retry_after = retry_after


class OutcomeUnknown(CommandError):
    """The act may have been carried out; ``position`` is where its outcome will follow in the log."""


class ActFailure(CommandError):
    """The PBX or the commander did not carry out the act; ``reason`` is one of `schemas.acts.Reason`."""

    def __init__(self, message: str, reason: str, **more: Any) -> None:
        super().__init__(message, **more)
        self.reason = reason
