"""One action without an answer yet: where its answer ends, and which parts of it are stored."""

from collections.abc import Callable, Mapping

from panoramisk.actions import Action
from panoramisk.message import Message

MESSAGE_BYTES = 512
HEADER_BYTES = 128
"""Approximate memory of a message, and of each of its headers, besides the text."""

ItemFilter = Callable[[Message], Message | None]
"""Maps an item of a list to the message to store, or to None."""


class PendingAction(Action):
    """An action that detects the end of its answer from headers, not from Asterisk's English text.

    An error, or a success that starts no list, is a whole answer. A list ends with ``EventList: Complete`` or an event
    whose name ends in ``Complete``. panoramisk would wait forever when an error answers a list action.
    ``on_complete`` is called with the answer before anything that was read after it is handled. Items of a list pass
    through ``item_filter``; without one all are stored. ``memory`` is the size of the answer so far, in bytes.
    """

    def __init__(
        self,
        headers: Mapping[str, str | list[str]],
        on_complete: Callable[[list[Message]], None] | None = None,
        item_filter: ItemFilter | None = None,
    ) -> None:
        super().__init__(headers)
        self.memory = 0
        self._on_complete = on_complete
        self._item_filter = item_filter

    def add_message(self, message: Message) -> bool:
        """Add one block to the answer; return whether the answer is complete."""
        if "event" not in message:
            # The text "... will follow" proves nothing: FAXStats has it, and sends one event without an end.
            is_complete = not (message.success and message.eventlist.lower() == "start")
        elif self.responses:
            is_complete = message.eventlist.lower() in {"complete", "cancelled"} or message.event.endswith("Complete")
        else:
            return False  # an answer starts with its response
        stored: Message | None = message
        if self._item_filter is not None and "event" in message and not is_complete:
            stored = self._item_filter(message)
        if stored is not None:
            self.responses.append(stored)
            self.memory += size_of(stored)
        if is_complete:
            if self._on_complete is not None:
                self._on_complete(self.responses)
            if not self.future.done():
                self.future.set_result(self.responses)
        return is_complete

    def fail(self, error: Exception) -> None:
        """End the action with an error; the caller may no longer wait for it."""
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()  # asyncio logs errors that no caller has retrieved


def drop_item(_item: Message) -> None:
    """Store no item of the list."""


def keep_headers(*names: str) -> ItemFilter:
    """Return a filter that stores these headers of each item."""
    return lambda item: Message({name: item[name] for name in names if name in item})


def size_of(message: Message) -> int:
    """Return the approximate memory of a message in bytes."""
    size = MESSAGE_BYTES
    for name, value in message.items():
        values = value if isinstance(value, list) else (value,)
        size += HEADER_BYTES * len(values) + len(name) + sum([len(str(one)) for one in values])
    return size
