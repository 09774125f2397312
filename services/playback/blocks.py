"""AMI blocks as headers, in both directions."""

from projections.engine.headers import pairs
from services.playback.recording import Answer

Headers = dict[str, str]


def parse_block(block: bytes) -> Headers:
    """Return a block's headers; the last of repeated ones."""
    return {name: value or "" for name, value in pairs(block.decode("utf-8", "surrogateescape").strip("\r\n"))}


def build_block(headers: Headers) -> bytes:
    """Return the block with these headers."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return lines.encode("utf-8", "surrogateescape") + b"\r\n"


def list_items(answer: Answer) -> list[Headers]:
    """Return the items of a recorded list, without its ActionID."""
    return [{n: v for n, v in parse_block(item).items() if n != "ActionID"} for item in answer.blocks[1:-1]]
