"""Functions that make a shape of an event from the values of its headers, without a dict between them.

`msgspec.convert` takes a dict by header. In a block of a known layout each header has a known place. So a generated
function takes the values by place, in a third of the time. Its results are those of `msgspec.convert`.
"""

from collections.abc import Callable, Sequence
from functools import cache, lru_cache, partial
from typing import Any

import msgspec
from msgspec import NODEFAULT, Struct

from schemas.log import RecordedEvent

Shaper = Callable[[RecordedEvent, Sequence[str]], Any]

MEMBERS_OF_EVENT = {
    "_pbx": "event.pbx",
    "_at": "event.at",
    "_recorded": "event.recorded",
    "_position": "event.position",
    "_source": "event.source",
    "_name": "event.name",
}
"""How a shape reads what the log, and not a header, holds."""


SHAPERS = 4096
"""How many functions are remembered; one is compiled in 0.2 ms, and each reader of the log has layouts of its own."""


@lru_cache(SHAPERS)
def shaper_of(headers: tuple[str, ...], shape: type[Any]) -> Shaper | None:
    """Return the function that makes ``shape`` of an event and the values of ``headers``.

    A header with an empty value counts as absent. The function raises msgspec.ValidationError for a value that does
    not fit. There is none for shapes that only `msgspec.convert` can make.
    """
    if not issubclass(shape, Struct):
        return None
    names: dict[str, Any] = {"shape": shape}
    arguments = []
    for member in msgspec.structs.fields(shape):
        source = MEMBERS_OF_EVENT.get(member.encode_name)
        if source is None:
            if member.default is NODEFAULT:
                return None
            if member.encode_name not in headers:
                continue
            source = f"values[{headers.index(member.encode_name)}]"
            if member.type is not str:
                names[f"convert_{member.name}"] = _converter_of(member.type)
                names[f"default_{member.name}"] = member.default
                source = f"convert_{member.name}({source}) if {source} else default_{member.name}"
            elif member.default != "":
                names[f"default_{member.name}"] = member.default
                source = f"{source} or default_{member.name}"
        arguments.append(f"{member.name}={source}")
    # The text holds names of our own shapes and places of headers; nothing of an event.
    exec(f"def make(event, values):\n    return shape({', '.join(arguments)})", names)  # noqa: S102
    make: Shaper = names["make"]
    return make


@cache
def _converter_of(kind: Any) -> Callable[[str], Any]:
    """Return the conversion of one value; most numbers come again and again (ChannelState, Cause)."""
    return lru_cache(1024)(partial(msgspec.convert, type=kind, strict=False))
