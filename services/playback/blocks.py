"""AMI blocks as headers, in both directions."""

from services.playback.recording import Answer

Headers = dict[str, str]


def parse_block(block: bytes) -> Headers:
    """Return a block's headers; the last of repeated ones."""
    pairs = (line.partition(":") for line in block.decode("utf-8", "surrogateescape").strip("\r\n").split("\r\n"))
    return {name: value.removeprefix(" ") for name, _, value in pairs}


def build_block(headers: Headers) -> bytes:
    """Return the block with these headers."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return lines.encode("utf-8", "surrogateescape") + b"\r\n"


def list_items(answer: Answer) -> list[Headers]:
    """Return the items of a recorded list, without its ActionID."""
    return [{n: v for n, v in parse_block(item).items() if n != "ActionID"} for item in answer.blocks[1:-1]]
