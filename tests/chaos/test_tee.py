"""The tee records exactly the delivered bytes, whatever the pieces, and cuts after the given byte."""

import asyncio
from pathlib import Path

from tests.chaos.tee import Cut, Link, Tee
from tests.chaos.wire import wire_of
from tests.support.polling import present

GREETING = b"Asterisk Call Manager/9.0.0\r\n"


def block(number: int) -> bytes:
    return f"Event: Newstate\r\nUniqueid: {number}\r\n\r\n".encode()


async def test_the_tee_records_and_cuts_exactly(tmp_path: Path) -> None:
    blocks = [block(n) for n in range(200)]
    sent = GREETING + b"Response: Success\r\nActionID: rl-1\r\n\r\n" + b"".join(blocks)

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for start in range(0, len(sent), 700):  # whatever the pieces
            writer.write(sent[start : start + 700])
            await writer.drain()
        await reader.read()
        writer.close()

    pbx = await asyncio.start_server(speak, "127.0.0.1", 0)
    port = pbx.sockets[0].getsockname()[1]
    tee = Tee(lambda: ("127.0.0.1", port), tmp_path).open()
    cuts: tuple[Cut | None, ...] = ("FIN", "RST", "silence", None)
    for cut in cuts:
        reader, writer = await asyncio.open_connection("127.0.0.1", tee.port)
        got, reset = b"", False
        link = await _accepted(tee)
        if cut is not None:
            link.burn(cut, 5000)
        try:
            expected = 5000 if cut == "silence" else len(sent)
            while len(got) < expected and (data := await reader.read(1000)):
                got += data
        except ConnectionResetError:
            reset = True
        writer.close()
        assert link.task is not None
        await asyncio.wait([link.task])
        delivered = link.file.read_bytes()
        assert reset == (cut == "RST")
        assert delivered.startswith(got)
        assert len(delivered) == (len(sent) if cut is None else 5000)
        assert reset or delivered == got
        assert link.cut == cut
        whole = wire_of(link)
        assert [raw for raw, _ in whole.blocks] == blocks[: len(whole.blocks)]
        assert len(whole.blocks) == (
            200 if cut is None else delivered.count(b"Event: ", 0, delivered.rfind(b"\r\n\r\n"))
        )
        assert all(link.accepted <= at for _, at in whole.blocks)
    await tee.close()
    pbx.close()
    await pbx.wait_closed()


async def _accepted(tee: Tee) -> Link:
    async def there() -> Link | None:
        return tee.link

    return await present(there, "the tee has a link")
