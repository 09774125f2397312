"""An export contains the bytes that came over the wire."""

import asyncio
import io
import subprocess
from pathlib import Path

import pytest

from schemas.log import Connected, NewEvent
from services.asterisk.ami.framing import Framer
from services.database.connection import connect
from services.log.append import append_events
from services.log.bounds import UnknownPbxError
from services.runtime.masking.ami import mask_block
from services.transfer import export_ami as export
from tests.captures import wire
from tests.support.ledger import ingest_wire
from tests.support.program import PROGRAM, environment, run_program


def events(name: str) -> list[bytes]:
    """Return a recording's event blocks, secrets masked; the banner is no part of them."""
    _, _, rest = wire(name).partition(b"\r\n")
    return [mask_block(block) for block in Framer().feed(rest) if block.lstrip().startswith(b"Event:")]


async def other_voices(url: str) -> None:
    """Put into the log what must not be exported: another PBX's event, ARI's, ours, and a reply."""
    connection = await connect(url)
    foreign = [NewEvent("ami", "Hangup", None, 1.0, b"Event: Hangup\r\nForeign: 1\r\n\r\n")]
    await append_events(connection, "other", 1, 1, foreign)
    own = [
        NewEvent("ari", "ChannelCreated", None, 1.0, b"{}"),
        NewEvent("ringledger", Connected.__name__, None, 1.0, b"{}"),
        NewEvent("ami", "Response:Agents", None, 1.0, b"Response: Success\r\n\r\n"),
    ]
    await append_events(connection, "pbx", 1, 1, own)
    await connection.close()


@pytest.mark.parametrize("capture", ["rich22", "rich16"])
async def test_every_event_block_comes_back_byte_for_byte(url: str, capture: str) -> None:
    await other_voices(url)
    await ingest_wire(url, wire(capture), 65536)
    await other_voices(url)
    out = io.BytesIO()
    written = await export.export_ami(url, "pbx", out)
    expected = events(capture)
    assert written == len(expected)
    assert out.getvalue() == b"".join(expected)


async def test_an_unknown_pbx_lists_the_pbxes(url: str) -> None:
    await other_voices(url)
    with pytest.raises(UnknownPbxError, match=r"no PBX 'nosuch' \(but other, pbx\)"):
        await export.export_ami(url, "nosuch", io.BytesIO())


async def test_a_closed_pipe_is_no_fault(url: str) -> None:
    await ingest_wire(url, wire("rich22")[:3_000_000], 65536)

    def head() -> tuple[bytes, int | None, bytes]:
        command, environ = (PROGRAM, "export", "--ami", "--pbx", "pbx"), environment(url)
        with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout
            assert process.stderr
            first = process.stdout.read(19)
            process.stdout.close()
            return first, process.wait(20), process.stderr.read()

    first, code, message = await asyncio.to_thread(head)
    assert (first, code, message) == (b"Event: FullyBooted\r", 1, b"")


async def test_bad_arguments_are_one_line(url: str, tmp_path: Path) -> None:
    await other_voices(url)
    output = ("--output", str(tmp_path / "file"))
    for arguments, message in (
        ((), "give either --output FILE"),
        (("--ami", *output, "--pbx", "pbx"), "give either --output FILE"),
        (("--ami",), "requires --pbx NAME"),
        (("--ami", "--pbx", "nosuch"), "the log holds no PBX 'nosuch' (but other, pbx)"),
        ((*output, "--pbx", "nosuch"), "the log holds no PBX 'nosuch' (but other, pbx)"),
        ((*output, "--from", "2026-11-24T14:03:00"), "neither a position nor a time with a zone"),
        ((*output, "--to", "-1"), "neither a position nor a time with a zone"),
        ((*output, "--from", "5"), "the log has no events between these bounds"),
        (("--output", str(tmp_path / "nosuch" / "file")), "No such file or directory"),
    ):
        code, out, err = await run_program("export", *arguments, environ=environment(url))
        assert (code, out) == (2, ""), arguments
        assert message in err
        assert err.count("\n") == 1
    assert await asyncio.to_thread(lambda: list(tmp_path.iterdir())) == []
