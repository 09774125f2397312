"""Masks the secrets of AMI blocks, in place and on bytes: values of headers, of variables, of applications."""

from collections.abc import Callable
from functools import lru_cache

from schemas.secrets import LONGEST, MASK, STEMS, is_secret
from services.runtime.masking.application import SECRET_ARGUMENT, masked_command, masked_data

# Events whose headers are fixed in Asterisk's source and have no secret names (free text stands in values only): nine
# tenths of all traffic. In these only variables and the dialplan's application are searched. A test compares this list
# with the recordings.
HARMLESS = frozenset(
    b"BridgeCreate BridgeDestroy BridgeEnter BridgeLeave CEL DeviceStateChange DialBegin DialEnd DialState"
    b" ExtensionStatus Hangup HangupRequest LocalBridge NewAccountCode NewCallerid NewConnectedLine Newchannel Newexten"
    b" Newstate QueueMemberStatus RTCPReceived RTCPSent SoftHangupRequest VarSet".split(),
)

CHANNEL_VARIABLES = b"ChanVariable"
"""Any event of a channel may have such headers (``channelvars`` in manager.conf): ``DestChanVariable: NAME=value``."""
APPLICATION = frozenset({"application", "lastapplication"})
APPLICATION_DATA = frozenset({"appdata", "applicationdata", "data", "lastdata"})
VARIABLE_VALUES = {"variable": "value", "key": "val"}
"""Which header has the value of what the other one names (VarSet, DBGetResponse)."""
SECRETS = tuple(stem.encode() for stem in (*STEMS, *(f"{name}\r" for name in SECRET_ARGUMENT)))


def masked(block: bytes) -> bytes:
    """Return the block with the secret values replaced by eight asterisks: of headers, variables and applications."""
    low = block.lower()
    for word in SECRETS:
        if word in low:
            return _Masking().block(block)
    return block


def masking(name: bytes) -> Callable[[bytes], bytes]:
    """Return a function that does for events of this name what `masked` does; for those that are `HARMLESS` a fast one.

    The fast ones rely on headers as Asterisk sends them: ``name: value``, the variable and the application once.
    """
    return FAST.get(name, _channel_masked) if name in HARMLESS else masked


def _channel_masked(block: bytes) -> bytes:
    # One byte is found ten times as fast as a name, and few events have it.
    return masked(block) if b"=" in block and CHANNEL_VARIABLES in block else block


def _variable_masked(block: bytes) -> bytes:
    at = block.rfind(b"\r\nVariable: ")
    name = block[at + 12 : block.find(b"\r\n", at + 12)]
    secret = _judged_name(name) if len(name) <= LONGEST else _is_secret(name)
    # Variables of the channel stand before it; in its value, signs like theirs are frequent.
    return masked(block) if secret or block.find(b"=", 0, at) >= 0 else block


def _application_masked(block: bytes) -> bytes:
    at = block.rfind(b"\r\nApplication: ")
    end = block.find(b"\r\n", block.find(b"\r\nAppData: ", at) + 2)
    return masked(block) if _has_secret(block[at:end]) else _channel_masked(block)


FAST = {b"VarSet": _variable_masked, b"Newexten": _application_masked, b"CEL": _application_masked}


def _has_secret(application: bytes) -> bool:
    return _judged_application(application) if len(application) <= LONGEST else masked(application) != application


def _is_secret(name: bytes) -> bool:
    return _judged_name(name) if len(name) <= LONGEST else is_secret(name.decode("latin-1"))


@lru_cache(maxsize=8192)
def _judged_application(application: bytes) -> bool:
    return masked(application) != application


@lru_cache(maxsize=8192)
def _judged_name(name: bytes) -> bool:
    return is_secret(name.decode("latin-1"))


class _Masking:
    """Masks one block line by line, and remembers which variable and application the lines before have named."""

    def __init__(self) -> None:
        self._secret_values: set[str] = set()
        self._application = ""

    def block(self, block: bytes) -> bytes:
        return b"\r\n".join([self._line(line) for line in block.split(b"\r\n")])

    def _line(self, line: bytes) -> bytes:
        name, colon, value = line.partition(b":")
        header = name.strip().lower().decode("latin-1")
        text = value.decode("latin-1").removeprefix(" ")
        if header in VARIABLE_VALUES:
            kept = self._secret_values.add if is_secret(text) else self._secret_values.discard
            kept(VARIABLE_VALUES[header])
        # A value reaches to the CRLF: a bare CR or LF in it must not save half a password. What follows a bare LF might
        # be read as a header of its own by somebody, so it is judged as one.
        start = 0
        for part in line.split(b"\n"):
            inner, inner_colon, _ = part.partition(b":")
            if inner_colon and _is_secret(inner):
                return _with_value(line, start + len(inner) + 1, MASK)
            start += len(part) + 1
        if not (colon and text):
            return line
        shown = self._shown(header, text)
        return line if shown == text else _with_value(line, len(name) + 1, shown)

    def _shown(self, header: str, text: str) -> str:
        """Return the value of a header that is no secret by its own name."""
        if header in self._secret_values:
            return MASK
        if "variable" in header:
            name, _, value = text.partition("=")
            return f"{name}={MASK}" if value and is_secret(name) else text
        if header in APPLICATION:
            self._application = text
        elif header in APPLICATION_DATA:
            return masked_data(self._application, text)
        elif header == "command":
            return masked_command(text)
        return text


def _with_value(line: bytes, start: int, shown: str) -> bytes:
    start += line[start : start + 1] == b" "
    return line[:start] + shown.encode("latin-1") if line[start:] else line
