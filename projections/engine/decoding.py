"""An event of the log, decoded for several models at once."""

from collections.abc import Sequence
from typing import Any

import msgspec

from projections.engine.headers import HeaderSubset, Layout, headers_of
from schemas.log import RecordedEvent


class DecodedEvent:
    """One event: its headers are parsed once, and each shape is made once, however many models read it.

    ``subset`` must hold the headers of all shapes that are read; without it all headers are parsed.
    """

    __slots__ = ("_first", "_headers", "_layout", "_others", "_shape", "_subset", "_values", "event")

    def __init__(self, event: RecordedEvent, subset: HeaderSubset | None = None) -> None:
        self.event = event
        self._subset = subset
        self._layout: Layout | None = None
        self._values: Sequence[str] = ()
        self._headers: dict[str, Any] | None = None
        # Most events have one shape for all models.
        self._shape: type[Any] | None = None
        self._first: Any = None
        self._others: dict[type[Any], Any] | None = None

    def convert(self, shape: type[Any]) -> Any:
        """Return the event as ``shape``. Raises ValueError if a header's value does not fit."""
        if shape is self._shape:
            return self._first
        if self._shape is None:
            self._first = self._make(shape)
            self._shape = shape
            return self._first
        others = self._others
        if others is None:
            others = self._others = {}
        if shape not in others:
            others[shape] = self._make(shape)
        return others[shape]

    def _make(self, shape: type[Any]) -> Any:
        layout = self._layout
        if layout is None and self._headers is None:
            layout = self._parse()
        if layout is not None and (make := layout.shapers[shape]) is not None:
            try:
                return make(self.event, self._values)
            except msgspec.ValidationError:
                return self._converted(shape)  # its error names the header
        return self._converted(shape)

    def _parse(self) -> Layout | None:
        event, subset = self.event, self._subset
        if subset is None:
            self._take(headers_of(event))
            return None
        match = subset.find(event)
        if match is None:
            self._take(subset.parse(event))
            return None
        self._layout, self._values = match
        return self._layout

    def _take(self, headers: dict[str, Any]) -> dict[str, Any]:
        event = self.event
        headers["_pbx"], headers["_at"], headers["_position"] = event.pbx, event.at, event.position
        headers["_recorded"], headers["_source"], headers["_name"] = event.recorded, event.source, event.name
        self._headers = headers
        return headers

    def _converted(self, shape: type[Any]) -> Any:
        headers = self._headers
        if headers is None:
            assert self._layout is not None
            headers = self._take(self._layout.headers(self._values))
        try:
            return msgspec.convert(headers, shape, strict=False)
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from None
