"""Parts of events that contain digits or words and are never redacted: ids, times, counts, names of headers."""

import msgspec

from projections import ALL
from schemas.ami import AmiEvent, OwnEvent
from services.retention.redact_key import TOKEN


def _number_headers() -> list[bytes]:
    """Return the AMI headers that shapes read as numbers: a count, a time or a port, never a telephone number."""
    shapes = {on.shape for model in ALL for on in model.on.values()}
    return sorted(
        {
            f.encode_name.encode()
            for shape in shapes
            if issubclass(shape, AmiEvent) and not issubclass(shape, OwnEvent)
            for f in msgspec.structs.fields(shape)
            if not f.encode_name.startswith("_") and _is_number(f.type)
        }
    )


def _is_number(annotation: object) -> bool:
    info = msgspec.inspect.type_info(annotation)
    types = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    return any(isinstance(t, msgspec.inspect.IntType | msgspec.inspect.FloatType) for t in types)


UNCHANGED = b"|".join(
    [
        TOKEN,
        rb"(?<![0-9])[12][0-9]{9}\.[0-9]+",  # a unique id, a Timestamp
        rb"(?<![0-9])[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:]{8}(?:\.[0-9]+)?(?:[+-][0-9]{2}:?[0-9]{2}(?![0-9]))?",
        rb"(?<![0-9])0\.[0-9]+",  # a fraction, as in RTCPReceived
        rb"\b0x[0-9A-Fa-f]+",
        rb"\b[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\b",  # the id of a bridge or a user
        rb"\b[0-9a-f]{64}\b",  # a hash in Ringledger's own events
        rb"\$argon2[a-z]*\$[^\"]*",
        rb"\bringledger/[0-9]+/",  # an ActionID of Ringledger
    ]
)
UNCHANGED_BY_SOURCE = {
    # The event's name, headers that are numbers but no telephone numbers, and the names of headers.
    "ami": rb"(?:\A|\r\n)(?:Event:[^\r\n]*|(?:"
    + b"|".join(_number_headers())
    + rb"):[^\r\n]*|[A-Za-z_-]+[0-9]{0,2}[A-Za-z]*:)",
    "cdr_csv": rb",[0-9]+,[0-9]+,\"(?:ANSWERED|NO ANSWER|BUSY|FAILED|CONGESTION)\"",  # duration and disposition
    "queue_log": rb"\A[0-9]{10}\|",  # the time
}
