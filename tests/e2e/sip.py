"""SIP messages as text, and the digest answer: as much of RFC 3261 as a test phone needs."""

import hashlib
import itertools
import re
import secrets

_NUMBERS = itertools.count(1)


def token(prefix: str = "") -> str:
    """Return a word that is used once only: a tag, a branch, a call id."""
    return f"{prefix}{next(_NUMBERS):x}{secrets.token_hex(4)}"


class Message:
    """One request or response as it arrived; ``status`` is 0 for a request."""

    def __init__(self, data: bytes) -> None:
        head, _, self.body = data.partition(b"\r\n\r\n")
        first, *lines = re.sub(r"\r\n[ \t]+", " ", head.decode("utf-8", "replace")).split("\r\n")
        self.headers = [(name.strip().lower(), value.strip()) for name, _, value in (x.partition(":") for x in lines)]
        self.status = int(first.split()[1]) if first.startswith("SIP/2.0") else 0
        self.method = self["cseq"].split()[1] if self.status else first.split()[0]

    def __getitem__(self, name: str) -> str:
        return next((value for header, value in self.headers if header == name), "")

    def all(self, name: str) -> list[str]:
        return [value for header, value in self.headers if header == name]

    @property
    def transaction(self) -> str:
        """Names the transaction: its branch and method."""
        match = re.search(r"branch=([^;,\s]+)", self["via"])
        return (match[1] if match else "") + self.method

    def tag(self, header: str) -> str:
        match = re.search(r";tag=([^;]+)", self[header])
        return match[1] if match else ""

    def came_from(self) -> tuple[str, int]:
        """Return where a response to this request goes."""
        match = re.search(r"SIP/2.0/UDP ([\d.]+):?(\d*)", self["via"])
        assert match
        return match[1], int(match[2] or 5060)


def uri(value: str) -> str:
    """Return the URI of a From, To or Contact."""
    match = re.search(r"<([^>]+)>", value)
    return match[1] if match else value.split(";", maxsplit=1)[0]


def untagged(value: str) -> str:
    return re.sub(r";tag=[^;]+", "", value)


def digest(challenge: Message, user: str, password: str, method: str, target: str) -> tuple[str, str]:
    """Return the header that answers a 401 or 407."""
    name, demand = "Authorization", challenge["www-authenticate"]
    if challenge.status == 407:
        name, demand = "Proxy-Authorization", challenge["proxy-authenticate"]
    parameters = dict(re.findall(r'(\w+)="?([^",]+)"?', demand))
    once = token()
    own = _md5(f"{user}:{parameters['realm']}:{password}")
    what = _md5(f"{method}:{target}")
    proof = _md5(f"{own}:{parameters['nonce']}:00000001:{once}:auth:{what}")
    opaque = f', opaque="{parameters["opaque"]}"' if "opaque" in parameters else ""
    return name, (
        f'Digest username="{user}", realm="{parameters["realm"]}", nonce="{parameters["nonce"]}", uri="{target}",'
        f' response="{proof}", algorithm=MD5, qop=auth, nc=00000001, cnonce="{once}"{opaque}'
    )


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
