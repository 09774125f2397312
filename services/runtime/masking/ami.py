"""Masks the secrets of AMI blocks, in place and on bytes: values of headers, of variables, of applications."""

from collections.abc import Callable
from functools import lru_cache

from schemas.secrets import MASK, MAX_CACHED_LENGTH, STEMS, is_secret
from services.runtime.masking.application import SECRET_ARGUMENT, mask_agi_command, mask_application_data

# Events whose headers are fixed in Asterisk's source and have no secret names: nine tenths of all traffic. Free text is
# in values only, so only variables and the dialplan's application are searched. A test compares this list with the
# recordings.
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
"""The header with a variable's name, and the header with its value (VarSet, DBGetResponse)."""
SECRETS = tuple(stem.encode() for stem in (*STEMS, *(f"{name}\r" for name in SECRET_ARGUMENT)))


def mask_block(block: bytes) -> bytes:
    """Return the block with eight asterisks for each secret value of a header, variable or application."""
    low = block.lower()
    for word in SECRETS:
        if word in low:
            return _Masking().block(block)
    return block


def masker_of(name: bytes) -> Callable[[bytes], bytes]:
    """Return a function that masks events of this name as `mask_block` does, a faster one for `HARMLESS` events.

    The faster ones require headers as Asterisk sends them: ``name: value``, the variable and the application once.
    """
    return FAST_MASKS.get(name, _mask_channel) if name in HARMLESS else mask_block


def _mask_channel(block: bytes) -> bytes:
    # A search for one byte is ten times as fast as one for a name, and few events have the byte.
    return mask_block(block) if b"=" in block and CHANNEL_VARIABLES in block else block


def _mask_variable(block: bytes) -> bytes:
    at = block.rfind(b"\r\nVariable: ")
    name = block[at + 12 : block.find(b"\r\n", at + 12)]
    secret = _is_secret_cached(name) if len(name) <= MAX_CACHED_LENGTH else _is_secret(name)
    # Variables of the channel come before it; its value often has an equals sign too.
    return mask_block(block) if secret or block.find(b"=", 0, at) >= 0 else block


def _mask_application(block: bytes) -> bytes:
    at = block.rfind(b"\r\nApplication: ")
    end = block.find(b"\r\n", block.find(b"\r\nAppData: ", at) + 2)
    return mask_block(block) if _has_secret(block[at:end]) else _mask_channel(block)


FAST_MASKS = {b"VarSet": _mask_variable, b"Newexten": _mask_application, b"CEL": _mask_application}


def _has_secret(application: bytes) -> bool:
    return (
        _has_secret_cached(application)
        if len(application) <= MAX_CACHED_LENGTH
        else mask_block(application) != application
    )


def _is_secret(name: bytes) -> bool:
    return _is_secret_cached(name) if len(name) <= MAX_CACHED_LENGTH else is_secret(name.decode("latin-1"))


@lru_cache(maxsize=8192)
def _has_secret_cached(application: bytes) -> bool:
    return mask_block(application) != application


@lru_cache(maxsize=8192)
def _is_secret_cached(name: bytes) -> bool:
    return is_secret(name.decode("latin-1"))


class _Masking:
    """Masks one block line by line, with the variable and the application of the lines before."""

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
            update = self._secret_values.add if is_secret(text) else self._secret_values.discard
            update(VARIABLE_VALUES[header])
        # A value ends at the CRLF: a bare CR or LF in it must not leave half a password in clear. A reader may take the
        # text after a bare LF for another header, so it is checked as one.
        start = 0
        for part in line.split(b"\n"):
            inner, inner_colon, _ = part.partition(b":")
            if inner_colon and _is_secret(inner):
                return _with_value(line, start + len(inner) + 1, MASK)
            start += len(part) + 1
        if not (colon and text):
            return line
        masked = self._mask_value(header, text)
        return line if masked == text else _with_value(line, len(name) + 1, masked)

    def _mask_value(self, header: str, text: str) -> str:
        """Return the masked value of a header whose own name is not secret."""
        if header in self._secret_values:
            return MASK
        if "variable" in header:
            name, _, value = text.partition("=")
            return f"{name}={MASK}" if value and is_secret(name) else text
        if header in APPLICATION:
            self._application = text
        elif header in APPLICATION_DATA:
            return mask_application_data(self._application, text)
        elif header == "command":
            return mask_agi_command(text)
        return text


def _with_value(line: bytes, start: int, masked: str) -> bytes:
    start += line[start : start + 1] == b" "
    return line[:start] + masked.encode("latin-1") if line[start:] else line
