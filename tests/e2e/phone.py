"""A SIP phone over UDP under a test's control: it registers, calls, rings, answers, holds, transfers.

It rings for every call and hands it over in `Phone.rung`; nothing is answered by itself. It has a socket for media, so
that Asterisk's packets arrive, and sends only the packets of `Call.speak`.
"""

import asyncio
import contextlib
import re
import struct
from collections.abc import Callable, Sequence
from typing import Any

from tests.e2e.sip import Message, digest, token, untagged, uri

SECONDS = 15.0
"""No answer of Asterisk's takes longer."""

CALL_SECONDS = 300.0
"""How long a call may ring."""

Headers = Sequence[tuple[str, str]]


class Dialog:
    """The values of From, To, Call-ID and CSeq."""

    def __init__(self, call_id: str, local: str, remote: str) -> None:
        self.call_id, self.local, self.remote = call_id, local, remote
        self.local_tag, self.remote_tag = token("t"), ""
        self.cseq = 0

    def headers(self, method: str) -> Headers:
        tag = f";tag={self.remote_tag}" if self.remote_tag else ""
        return [
            ("From", f"{self.local};tag={self.local_tag}"),
            ("To", self.remote + tag),
            ("Call-ID", self.call_id),
            ("CSeq", f"{self.cseq} {method}"),
        ]


class Call(Dialog):
    """One call at one phone; ``status`` is the last final status received or sent."""

    def __init__(self, phone: "Phone", call_id: str, local: str, remote: str, target: str) -> None:
        super().__init__(call_id, local, remote)
        self.phone, self.target = phone, target
        self.invite: Message | None = None  # what called us; None when we called
        self.offer = b""  # the other side's SDP
        self.via = ""
        self.status = 0
        self.early_tag = ""  # the other side's, while it rings
        self.ringing, self.answered, self.ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.transferred = asyncio.Event()
        self._version = 0
        self._packets = 0

    def sdp(self, direction: str = "sendrecv") -> bytes:
        self._version += 1
        ip = self.phone.ip
        return (
            f"v=0\r\no=- 1 {self._version} IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n"
            f"m=audio {self.phone.media_port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na={direction}\r\n"
        ).encode()

    async def up(self) -> "Call":
        """Wait until it is answered."""
        async with asyncio.timeout(SECONDS):
            await self.answered.wait()
        return self

    async def over(self) -> int:
        """Wait until it has ended, and return its status."""
        async with asyncio.timeout(SECONDS):
            await self.ended.wait()
        return self.status

    def answer(self) -> None:
        assert self.invite
        self.status = 200
        self.phone.respond(self.invite, "200 OK", self.local_tag, self.sdp(), SDP)
        self.answered.set()

    def refuse(self, status: str = "486 Busy Here", more: "Headers" = ()) -> None:
        assert self.invite
        self.status = int(status[:3])
        self.phone.respond(self.invite, status, self.local_tag, more=more)
        self.end()

    def forward(self, extension: str) -> None:
        """Give another number instead of answering."""
        self.refuse("302 Moved Temporarily", [("Contact", f"<sip:{extension}@{self.phone.server[0]}>")])

    async def hang_up(self) -> None:
        """End it in any state, also where the other side was quicker."""
        if self.ended.is_set():
            return
        if self.answered.is_set():
            await self.phone.ask("BYE", self.target, self)
            self.end()
        elif self.invite:
            self.refuse("603 Decline")
        else:
            cancel = [("Via", self.via), *self.headers("CANCEL")]
            self.phone.send(f"CANCEL {self.target} SIP/2.0", cancel, self.phone.server)
            await self.over()

    async def hold(self, *, on: bool = True) -> None:
        direction = "sendonly" if on else "sendrecv"
        assert (await self.phone.ask("INVITE", self.target, self, self.sdp(direction), SDP)).status == 200

    async def press(self, digits: str) -> None:
        """Send DTMF as INFO, which is what the PBX's phones are configured for."""
        for digit in digits:
            body = f"Signal={digit}\r\nDuration=100\r\n".encode()
            await self.phone.ask("INFO", self.target, self, body, [("Content-Type", "application/dtmf-relay")])

    def speak(self) -> None:
        """Send 20 ms of silence as RTP to the other side."""
        body = self.offer.decode()
        host, port = re.search(r"c=IN IP4 (\S+)", body), re.search(r"m=audio (\d+)", body)
        assert host
        assert port
        self._packets += 1
        header = struct.pack("!BBHII", 0x80, 0, self._packets, 160 * self._packets, id(self) & 0xFFFFFFFF)
        self.phone.media.sendto(header + b"\xff" * 160, (host[1], int(port[1])))

    async def refer(self, extension: str, replaces: "Call | None" = None) -> int:
        """Transfer the other side to ``extension``, or to our other call that ``replaces`` names; return the status."""
        to = f"sip:{extension}@{self.phone.server[0]}"
        if replaces:
            call_id = replaces.call_id.replace("@", "%40")
            tag = replaces.remote_tag or replaces.early_tag
            to += f"?Replaces={call_id}%3Bto-tag%3D{tag}%3Bfrom-tag%3D{replaces.local_tag}"
        headers = [("Refer-To", f"<{to}>"), ("Referred-By", f"<{uri(self.local)}>")]
        return (await self.phone.ask("REFER", self.target, self, b"", headers)).status

    async def transferred_up(self) -> None:
        """Wait until Asterisk reports that the transfer has succeeded."""
        async with asyncio.timeout(SECONDS):
            await self.transferred.wait()

    def end(self) -> None:
        self.ended.set()
        self.phone.calls.pop(self.call_id, None)


SDP: Headers = [("Content-Type", "application/sdp")]


class Phone(asyncio.DatagramProtocol):
    """One user's phone; make it with `open_phone`. ``deaf``: nothing that arrives is noticed, as if unplugged.

    ``registrar`` is what it answers to REGISTER: a phone can play the provider's part.
    """

    transport: asyncio.DatagramTransport
    media: asyncio.DatagramTransport
    port: int
    media_port: int

    def __init__(self, user: str, ip: str, server: tuple[str, int]) -> None:
        self.user, self.ip, self.server = user, ip, server
        self.password = f"pw{user}"
        self.calls: dict[str, Call] = {}
        self.deaf = False
        self.leaving = False
        self.registrar = "405 Method Not Allowed"
        self._rings: asyncio.Queue[Call] = asyncio.Queue()
        self._waiting: dict[str, asyncio.Queue[Message]] = {}
        self._responses: dict[str, bytes] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._registration = Dialog(token("r"), self.address(user), self.address(user))

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def address(self, user: str) -> str:
        return f"<sip:{user}@{self.server[0]}>"

    @property
    def contact(self) -> str:
        """Where it can be called; when it leaves, all contacts of its user, also one that an earlier phone left."""
        return "*" if self.leaving else f"<sip:{self.user}@{self.ip}:{self.port}>"

    async def rung(self) -> Call:
        """Wait for the next call that rings here."""
        async with asyncio.timeout(SECONDS):
            return await self._rings.get()

    async def register(self, expires: int = 120) -> int:
        """Register, or unregister with 0; return the status."""
        headers = [("Expires", str(expires))]
        return (await self.ask("REGISTER", f"sip:{self.server[0]}", self._registration, b"", headers)).status

    def call(self, extension: str) -> Call:
        """Start a call; wait on its events for what becomes of it."""
        target = f"sip:{extension}@{self.server[0]}:{self.server[1]}"
        call = Call(self, f"{token('c')}@{self.ip}", self.address(self.user), self.address(extension), target)
        self.calls[call.call_id] = call
        task = asyncio.create_task(self._call(call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return call

    async def _call(self, call: Call) -> None:
        def ring(answer: Message) -> None:
            call.early_tag = answer.tag("to")
            call.ringing.set()

        final = await self.ask("INVITE", call.target, call, call.sdp(), SDP, provisional=ring, seconds=CALL_SECONDS)
        call.status = final.status
        if final.status < 300:
            call.answered.set()
        else:
            call.end()

    async def ask(
        self,
        method: str,
        target: str,
        dialog: Dialog,
        body: bytes = b"",
        more: Headers = (),
        *,
        provisional: Callable[[Message], None] = lambda _: None,
        seconds: float = SECONDS,
    ) -> Message:
        """Send a request, again after a challenge, and return its final response. Raises TimeoutError."""
        proof: Headers = ()
        while True:
            dialog.cseq += 1
            via = f"SIP/2.0/UDP {self.ip}:{self.port};rport;branch=z9hG4bK{token()}"
            if isinstance(dialog, Call) and method == "INVITE":
                dialog.via = via
            headers = [("Via", via), *dialog.headers(method), ("Contact", self.contact), *more, *proof]
            cseq = dialog.cseq
            async with asyncio.timeout(seconds):
                final = await self._final(f"{method} {target} SIP/2.0", headers, body, provisional)
            if method == "INVITE":
                assert isinstance(dialog, Call)
                self._acknowledge(dialog, final, target, via, cseq)
            if final.status in {401, 407} and not proof:
                proof = [digest(final, self.user, self.password, method, target)]
                continue
            return final

    async def _final(
        self, first: str, headers: Headers, body: bytes, provisional: Callable[[Message], None]
    ) -> Message:
        data = self.send(first, headers, self.server, body)
        transaction = Message(data).transaction
        answers = self._waiting[transaction] = asyncio.Queue()
        is_answered = False
        try:
            while True:
                try:
                    async with asyncio.timeout(None if is_answered else 0.5):
                        answer = await answers.get()
                except TimeoutError:
                    self.transport.sendto(data, self.server)
                    continue
                is_answered = True
                if answer.status >= 200:
                    return answer
                if answer.status >= 180:
                    provisional(answer)
        finally:
            del self._waiting[transaction]

    def _acknowledge(self, call: Call, final: Message, target: str, via: str, cseq: int) -> None:
        if final.status < 300:
            call.remote_tag = final.tag("to")
            call.target = target = uri(final["contact"])
            call.offer = final.body
            via = f"SIP/2.0/UDP {self.ip}:{self.port};rport;branch=z9hG4bK{token()}"
        headers = [("Via", via), ("From", final["from"]), ("To", final["to"]), ("Call-ID", call.call_id)]
        self.send(f"ACK {target} SIP/2.0", [*headers, ("CSeq", f"{cseq} ACK")], self.server)

    def send(self, first: str, headers: Headers, to: tuple[str, int], body: bytes = b"") -> bytes:
        lines = [first, *(f"{name}: {value}" for name, value in headers), "Max-Forwards: 70"]
        data = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body
        self.transport.sendto(data, to)
        return data

    def respond(self, request: Message, status: str, tag: str = "", body: bytes = b"", more: Headers = ()) -> None:
        to = request["to"]
        if tag and ";tag=" not in to:
            to += f";tag={tag}"
        headers = [("Via", via) for via in request.all("via")]
        headers += [("From", request["from"]), ("To", to), ("Call-ID", request["call-id"]), ("CSeq", request["cseq"])]
        if not any(name == "Contact" for name, _ in more):
            headers.append(("Contact", self.contact))
        data = self.send(f"SIP/2.0 {status}", [*headers, *more], request.came_from(), body)
        self._responses[request.transaction] = data

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if self.deaf or len(data) < 10:  # keep-alives are shorter
            return
        message = Message(data)
        if message.status:
            if message.transaction in self._waiting:
                self._waiting[message.transaction].put_nowait(message)
        elif message.transaction in self._responses:
            self.transport.sendto(self._responses[message.transaction], addr)
        else:
            self._requested(message)

    def _requested(self, request: Message) -> None:
        call = self.calls.get(request["call-id"])
        match request.method:
            case "INVITE" if call:
                is_held = re.search(rb"a=(sendonly|inactive)", request.body)
                self.respond(request, "200 OK", call.local_tag, call.sdp("recvonly" if is_held else "sendrecv"), SDP)
            case "INVITE":
                self._ring(request)
            case "BYE":
                self.respond(request, "200 OK")
                if call:
                    call.end()
            case "CANCEL":
                self.respond(request, "200 OK", call.local_tag if call else "")
                if call and not call.answered.is_set():
                    call.refuse("487 Request Terminated")
            case "NOTIFY":
                self.respond(request, "200 OK")
                if call and b"200 OK" in request.body:
                    call.transferred.set()
            case "REGISTER":
                more = [("Expires", "60"), ("Contact", request["contact"])] if self.registrar == "200 OK" else []
                self.respond(request, self.registrar, token("g"), b"", more)
            case "ACK":
                pass
            case _:
                self.respond(request, "200 OK", call.local_tag if call else token("g"))

    def _ring(self, request: Message) -> None:
        call = Call(
            self, request["call-id"], untagged(request["to"]), untagged(request["from"]), uri(request["contact"])
        )
        call.remote_tag = request.tag("from")
        call.invite, call.offer = request, request.body
        self.calls[call.call_id] = call
        self.respond(request, "180 Ringing", call.local_tag)
        call.ringing.set()
        self._rings.put_nowait(call)

    async def close(self) -> None:
        """Hang up what is left, unregister, and go."""
        self.deaf = False
        for call in list(self.calls.values()):
            await call.hang_up()
        self.leaving = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                await self.register(0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.transport.close()
        self.media.close()


async def open_phone(user: str, ip: str, server: tuple[str, int]) -> Phone:
    """Open a phone's two sockets on ``ip``; it is not registered yet."""
    loop = asyncio.get_running_loop()
    _, phone = await loop.create_datagram_endpoint(lambda: Phone(user, ip, server), local_addr=(ip, 0))
    phone.media, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=(ip, 0))
    phone.media_port = phone.media.get_extra_info("sockname")[1]
    return phone
