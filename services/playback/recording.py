"""The recording: 307 seconds of a real Asterisk 22.10.1, received by one AMI session with all events switched on.

``rich22.rx.xz`` are the exact received bytes. ``rich22.actions.tsv`` are the sent actions, rec-1 first: the time
(seconds since the epoch), then the headers, without the secret. ``rich22.idle.xz`` are answers of the same PBX at rest
to actions that were not sent then, each after its action: the modules, the endpoints in detail.
"""

import lzma
import re
from collections.abc import Mapping
from importlib.resources import files

from msgspec import Struct

from services.asterisk.ami.framing import Framer

ACTION_ID = re.compile(rb"\r\nActionID: rec-(\d+)(?=\r\n)")
NAME = re.compile(rb"\s*Event: ([^\r]*)")
LEAD_MICROSECONDS = 1_000_000
TIMESTAMP = re.compile(rb"\r\nTimestamp: (\d+)\.(\d{6})\r\n")

Request = tuple[str, frozenset[tuple[str, str]]]
"""An action's name and its other headers, in lower case, without ActionID."""


class Live(Struct, frozen=True, gc=False):
    """An event that answers no action; ``at`` is microseconds since the epoch, by Asterisk's clock."""

    at: int
    name: str
    block: bytes


class Answer(Struct, frozen=True, gc=False):
    """An answer sent at ``at``, after the first ``live_before`` of the live events."""

    at: int
    live_before: int
    blocks: list[bytes]


class Recording(Struct, frozen=True):
    """The recording from ``start`` to ``end`` (microseconds since the epoch).

    The few events before ``start`` are due at once. Answers to one request are in order of time.
    """

    start: int
    end: int
    banner: bytes
    live: list[Live]
    answers: dict[Request, list[Answer]]


def request(headers: Mapping[str, str]) -> Request:
    """Return an action's headers in comparable form."""
    low = {name.lower(): value for name, value in headers.items()}
    rest = frozenset((name, value) for name, value in low.items() if name not in {"action", "actionid"})
    return low.get("action", "").lower(), rest


def load(name: str = "rich22") -> Recording:
    """Read the recording (15 MB; a quarter of a second)."""
    folder = files("services.playback").joinpath("recording")
    wire = lzma.decompress(folder.joinpath(f"{name}.rx.xz").read_bytes())
    actions = folder.joinpath(f"{name}.actions.tsv").read_text(encoding="utf-8").splitlines()
    banner, _, rest = wire.partition(b"\r\n")
    live: list[Live] = []
    replies: dict[int, Answer] = {}
    latest = 0
    for block in Framer().feed(rest):
        action_id = ACTION_ID.search(block)
        if action_id is not None:
            latest = int(action_id[1])
        stamp = TIMESTAMP.search(block)
        event = NAME.match(block)
        if action_id is None and event is not None and stamp is not None:
            live.append(Live(int(stamp[1] + stamp[2]), event[1].decode(), block))
        elif latest > 1 and (action_id is not None or event is not None):
            # An item without ActionID (PeerEntry in Asterisk 22) belongs to the current list.
            at = int(actions[latest - 1].partition("\t")[0].replace(".", ""))
            replies.setdefault(latest, Answer(at, len(live), [])).blocks.append(block.lstrip())
    answers: dict[Request, list[Answer]] = {}
    for block in Framer().feed(lzma.decompress(folder.joinpath(f"{name}.idle.xz").read_bytes())):
        if block.startswith(b"Action: "):
            lines = block.decode().strip().split("\r\n")
            blocks: list[bytes] = []
            answers[request(dict(line.split(": ", 1) for line in lines))] = [Answer(0, 0, blocks)]
        else:
            blocks.append(block)
    for number, answer in sorted(replies.items()):
        headers = dict(line.split(": ", 1) for line in actions[number - 1].split("\t")[1:])
        answers.setdefault(request(headers), []).append(answer)  # after the answer at rest
    # The first four seconds have no calls, only the recorder's list actions, so playback skips them.
    start = next(event.at for event in live if event.name == "Newchannel") - LEAD_MICROSECONDS
    return Recording(start, max(event.at for event in live), banner + b"\r\n", live, answers)
