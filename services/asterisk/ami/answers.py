"""The unfinished answers of one link, with a bound on the memory that they take together."""

from collections.abc import Iterator

import structlog

from services.asterisk.ami.blocks import message
from services.asterisk.ami.pending_action import PendingAction

MAX_ANSWER_BYTES = 32 << 20
MAX_ANSWERS_BYTES = 64 << 20
"""Memory of one answer, and of all unfinished answers of a link together."""

logger = structlog.get_logger()


class AnswerTooLongError(TimeoutError):
    """The answer exceeds the bound, so the client no longer waits for its end."""


class Answers:
    """Pending actions by their ActionID; ``memory`` is the size of their answers so far, in bytes."""

    def __init__(self) -> None:
        self.memory = 0
        self._actions: dict[str, PendingAction] = {}

    def __len__(self) -> int:
        return len(self._actions)

    def __iter__(self) -> Iterator[PendingAction]:
        return iter(self._actions.values())

    def add(self, action: PendingAction) -> None:
        """Wait for the answer to an action."""
        self._actions[action.id] = action

    def get(self, number: str) -> PendingAction | None:
        """Return the action with this ActionID, None if its answer is complete or not expected."""
        return self._actions.get(number)

    def forget(self, number: str) -> None:
        """Ignore all further parts of the answer to this ActionID."""
        action = self._actions.pop(number, None)
        if action is not None:
            self.memory -= action.memory

    def add_block(self, action: PendingAction, block: bytes) -> None:
        """Add one block to the answer of ``action``. Never raises for the block's content."""
        before = action.memory
        try:
            is_complete = action.add_message(message(block))
        except Exception:
            # The error ends this action only: the rest of the read must still be handled.
            logger.exception("answer_failed", action=action.action)
            action.fail(ValueError(f"the answer to {action.action} could not be read"))
            is_complete = True
        self.memory += action.memory - before
        if is_complete:
            self.forget(action.id)
        elif action.memory > MAX_ANSWER_BYTES:
            self._abandon(action)
        elif self.memory > MAX_ANSWERS_BYTES:
            self._abandon(max(self, key=lambda one: one.memory))

    def _abandon(self, action: PendingAction) -> None:
        reason = f"the answer to {action.action} takes more than {action.memory >> 20} MB so far"
        logger.warning("answer_cut", action=action.action, bytes=action.memory, blocks=len(action.responses))
        self.forget(action.id)
        action.responses.clear()
        action.fail(AnswerTooLongError(reason))

    def fail_all(self, error: type[Exception]) -> None:
        """End every pending action with an error."""
        for action in self:
            action.fail(error())
        self._actions.clear()
        self.memory = 0
