"""An action and its answer: where the answer ends, and what is kept of it."""

from collections.abc import Callable, Mapping

from panoramisk.actions import Action
from panoramisk.message import Message

MESSAGE_BYTES = 512
HEADER_BYTES = 128
"""What Python needs for a message, and for each of its headers, besides their letters; about."""

Item = Callable[[Message], Message | None]
"""Takes an item of a list; returns what is kept of it, or None."""


class Question(Action):
    """An action that knows when its answer is complete, whatever Asterisk's English says.

    An error, or a success that starts no list, is an answer; a list ends with ``EventList: Complete`` or an event
    whose name ends in ``Complete``. panoramisk would wait for ever when a list is answered by an error. ``then`` is
    called with a complete answer before anything that was read after it is handled. Items of a list go through
    ``item``; without it all are kept. ``memory`` is what the answer takes so far, in bytes.
    """

    def __init__(
        self,
        headers: Mapping[str, str | list[str]],
        then: Callable[[list[Message]], None] | None = None,
        item: Item | None = None,
    ) -> None:
        super().__init__(headers)
        self.memory = 0
        self._then = then
        self._item = item

    def add_message(self, message: Message) -> bool:
        """Take one block; return True when the answer is whole."""
        if "event" not in message:
            # "... will follow" says nothing: FAXStats answers so, and one event without an end follows.
            done = not (message.success and message.eventlist.lower() == "start")
        elif self.responses:
            done = message.eventlist.lower() in {"complete", "cancelled"} or message.event.endswith("Complete")
        else:
            return False  # an answer starts with its response
        kept: Message | None = message
        if self._item is not None and "event" in message and not done:
            kept = self._item(message)
        if kept is not None:
            self.responses.append(kept)
            self.memory += size_of(kept)
        if done:
            if self._then is not None:
                self._then(self.responses)
            if not self.future.done():
                self.future.set_result(self.responses)
        return done


def drop_item(_item: Message) -> None:
    """Keep nothing of a list's items."""


def keep_headers(*names: str) -> Item:
    """Return what keeps these headers of each item."""
    return lambda item: Message({name: item[name] for name in names if name in item})


def size_of(message: Message) -> int:
    """Return about how much memory a message takes, in bytes."""
    size = MESSAGE_BYTES
    for name, value in message.items():
        values = value if isinstance(value, list) else (value,)
        size += HEADER_BYTES * len(values) + len(name) + sum([len(str(one)) for one in values])
    return size
