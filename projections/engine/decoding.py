"""An event of the log, decoded for several models at once."""

from typing import Any

import msgspec

from projections.engine.headers import HeaderSubset, headers_of
from schemas.log import RecordedEvent


class DecodedEvent:
    """One event: its headers are parsed once, and each shape is converted once, however many models read it.

    ``subset`` must hold the headers of all shapes that are read; without it all headers are parsed.
    """

    __slots__ = ("_headers", "_shapes", "_subset", "event")

    def __init__(self, event: RecordedEvent, subset: HeaderSubset | None = None) -> None:
        self.event = event
        self._subset = subset
        self._headers: dict[str, Any] | None = None
        self._shapes: dict[type[Any], Any] = {}

    def convert(self, shape: type[Any]) -> Any:
        """Return the event as ``shape``. Raises ValueError if a header's value does not fit."""
        converted = self._shapes.get(shape)
        if converted is None:
            headers = self._headers
            if headers is None:
                event, subset = self.event, self._subset
                headers = self._headers = subset.parse(event) if subset else headers_of(event)
                headers["_pbx"], headers["_at"], headers["_position"] = event.pbx, event.at, event.position
                headers["_recorded"], headers["_source"], headers["_name"] = event.recorded, event.source, event.name
            try:
                converted = self._shapes[shape] = msgspec.convert(headers, shape, strict=False)
            except msgspec.ValidationError as error:
                raise ValueError(str(error)) from None
        return converted
