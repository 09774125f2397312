"""``ringledger archive`` broken off at every step, beside those who read and write, and asked for what cannot be."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from projections import ALL
from schemas.log import NewEvent
from services.database.connection import connect, snapshot
from services.database.locks import Lock
from services.integrity.verify import verify_log
from services.listener.previous_link import PreviousLink, read_previous_link
from services.listener.snapshot_epoch import read_epoch
from services.log import archives
from services.log.append import append_events
from services.projector import saved_states as saved
from services.projector import stale_states
from services.projector.process import project
from services.projector.saved_states import pin
from services.retention import archive, archive_files, detach
from services.retention.detach import ArchiveError
from services.transfer.export_ledger import export_ledger
from services.transfer.import_asterisk import import_asterisk
from services.transfer.import_content import read_contents
from services.transfer.import_ledger import ImportRefusedError
from services.transfer.ledger_file import manifest_path
from tests.support.archiving import append_months, drop_models, fold, model_state, month, run_archive
from tests.support.log_clock import set_clock
from tests.support.polling import eventually
from tests.support.rebuilding import run_command
from tests.support.story import fold_log
from tests.support.transfer import import_files

SIZE = 2_000
STATE = "SELECT (SELECT count(*) FROM ledger.event), (SELECT count(*) FROM ledger.archive), position FROM ledger.head"


class Killed(BaseException):
    """Raised where the command dies."""


def dies(after: Callable[..., Any] | None) -> Callable[..., Awaitable[Any]]:
    async def do(*arguments: Any) -> Any:
        if after is not None:
            await after(*arguments)
        raise Killed

    return do


async def kept_some(connection: asyncpg.Connection, *arguments: Any) -> None:
    """Keep the state of one model, then die."""
    await pin(connection, *arguments)
    raise Killed


@pytest.mark.parametrize(
    "step", ["keep", "kept", "exported", "no manifest", "written", "in the transaction", "detached", "tidy"]
)
async def test_the_next_command_continues_a_killed_archive(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    ends = await append_months(url, SIZE)
    await fold(url)
    before = await model_state(url)
    folder = tmp_path / "files"
    wrote = export_ledger

    async def export(url: str, file: Path, *rest: Any) -> Any:
        if file.name.startswith("2026-04"):
            if step == "no manifest":
                manifest_path(folder / "2026-03.jsonl.zst").unlink()
            raise Killed
        return await wrote(url, file, *rest)

    with monkeypatch.context() as patch:
        if step == "keep":
            patch.setattr(saved, "pin", kept_some)
        elif step == "kept":
            patch.setattr(archive, "write_files", dies(None))
        elif step in {"exported", "no manifest"}:
            patch.setattr(archive_files, "export_ledger", export)
        elif step == "written":
            patch.setattr(archive, "detach", dies(None))
        elif step == "in the transaction":
            patch.setattr(detach, "detach_month", dies(archives.detach_month))
        elif step == "detached":
            patch.setattr(archive, "detach", dies(detach.detach))
        else:
            patch.setattr(stale_states, "delete_before", dies(stale_states.delete_before))
        with pytest.raises(Killed):
            await run_archive(url, folder, "2026-05", drop=True)
    connection = await asyncpg.connect(url)
    through = step in {"detached", "tidy"}
    assert tuple(await connection.fetchrow(STATE)) == (
        (SIZE - ends[1] + 2, 2, SIZE + 2) if through else (SIZE, 0, SIZE)
    )
    await verify_log(url)
    await fold(url)
    done = await run_archive(url, folder, "2026-05", drop=True)
    assert done.first_position == ends[1] + 1
    assert done.dropped == ["2026-03", "2026-04"]
    assert await connection.fetchval("SELECT to_regclass('archived.event_2026_03')") is None
    assert tuple(await connection.fetchrow(STATE)) == (SIZE - ends[1] + 2, 2, SIZE + 2)
    assert await connection.fetchval("SELECT count(*) FROM ledger.saved WHERE position < $1", ends[1]) == 0
    await connection.close()
    files = [folder / "2026-03.jsonl.zst", folder / "2026-04.jsonl.zst"]
    assert (await verify_log(url, files=files)).checked == {"2026-03", "2026-04"}
    await drop_models(url)
    await fold(url)
    assert {**await model_state(url), "states": []} == {**before, "states": []}


async def test_archives_and_rest_restore_the_log(url: str, empty_url: str, tmp_path: Path) -> None:
    ends = await append_months(url, SIZE)
    first = await run_archive(url, tmp_path, "2026-04")
    second = await run_archive(url, tmp_path, "2026-06")
    code, out, err = await run_command(url, "export", "--output", str(tmp_path / "rest.jsonl.zst"))
    assert (code, err) == (0, "")
    assert out.endswith(f" positions {ends[2] + 1} to {SIZE + 3}\n")
    files = [*(one.path for one in (*first.files, *second.files)), tmp_path / "rest.jsonl.zst"]
    output = await import_files(empty_url, *files)
    assert output[0] == f"positions 1 to {ends[0]}, in the same chain"
    assert output[-1] == f"positions {ends[2] + 1} to {SIZE + 3}, in the same chain"
    whole, rest = await verify_log(empty_url), await verify_log(url)
    assert (whole.end, whole.events, bool(whole.archives)) == (rest.end, SIZE + 3, False)
    assert await fold_log(empty_url, ALL) == await fold_log(url, ALL)
    # And may be archived once more.
    await run_archive(empty_url, tmp_path / "again", "2026-05")
    await verify_log(empty_url)
    with pytest.raises(ImportRefusedError, match=r"it is archived: 2026-03\.jsonl\.zst holds 2026-03"):
        await import_files(url, files[0])


async def previous_link(connection: asyncpg.Connection) -> PreviousLink | None:
    return await read_previous_link(connection, "pbx", ("Connected", "Disconnected"), 2)


async def test_an_archived_open_link_is_remembered(url: str, tmp_path: Path) -> None:
    connection = await connect(url)
    await connection.execute("UPDATE ledger.head SET appended = '-infinity', month = '-infinity'")
    await set_clock(connection, month(0))
    events = [
        NewEvent("ringledger", "Connected", 5.0, 5.0, b'{"type":"Connected","address":"x"}'),
        NewEvent("ringledger", "SnapshotStarted", 6.0, 6.0, b'{"type":"SnapshotStarted","epoch":1795}'),
    ]
    await append_events(connection, "pbx", 1, 1, events)
    is_open = PreviousLink(begun_by=1, ended_by=None, is_open=True, last_recorded=6.0, is_superseded=False)
    assert (await read_epoch(connection, "pbx"), await previous_link(connection)) == (1795, is_open)
    await set_clock(connection, month(1))
    await run_archive(url, tmp_path, "2026-04")
    assert (await read_epoch(connection, "pbx"), await previous_link(connection)) == (1795, is_open)
    gone = NewEvent("ringledger", "Disconnected", 7.0, 7.0, b'{"type":"Disconnected","reason":"","heard":6}')
    await append_events(connection, "pbx", 1, 3, [gone])
    is_ended = PreviousLink(begun_by=1, ended_by=1, is_open=False, last_recorded=7.0, is_superseded=False)
    assert await previous_link(connection) == is_ended
    await set_clock(connection, month(2))
    await run_archive(url, tmp_path, "2026-05")
    assert await read_epoch(connection, "pbx") == 1795
    assert await previous_link(connection) == replace(is_ended, ended_by=None)
    await connection.close()


async def test_lines_of_an_archived_month_are_refused(url: str, tmp_path: Path) -> None:
    connection = await connect(url)
    await connection.execute("UPDATE ledger.head SET appended = '-infinity', month = '-infinity'")
    await set_clock(connection, month(0))
    since = month(0).timestamp()
    output = NewEvent("ringledger", "Connected", since, since, b'{"type":"Connected","address":"x"}')
    await append_events(connection, "pbx", 1, 1, [output])
    await set_clock(connection, month(1))
    await run_archive(url, tmp_path, "2026-04")
    file = tmp_path / "queue_log"
    file.write_text("".join(f"{int(since) + n}|{n}.1|q|NONE|ENTERQUEUE||100|1\n" for n in (-50, 50)))
    [text] = [one async for one in import_asterisk(url, read_contents([file], "queue_log"), "pbx", "")]
    assert text.endswith("2 events of queue_log")
    await set_clock(connection, month(2))
    await run_archive(url, tmp_path, "2026-05")
    with file.open("a") as longer:
        longer.write(f"{int(since) - 40}|1.2|q|NONE|ENTERQUEUE||100|1\n")
    with pytest.raises(ImportRefusedError, match="files of pbx were imported in months that are archived"):
        [one async for one in import_asterisk(url, read_contents([file], "queue_log"), "pbx", "")]
    await connection.close()


async def test_an_archive_delays_other_sessions_briefly(url: str, tmp_path: Path) -> None:
    """Views are never empty and never go back, and a listener writes on while an archive waits for a long reader."""
    ends = await append_months(url, 8_000)
    await fold(url)
    stop, looking = asyncio.Event(), await connect(url, search_path="model, ledger")
    writing, projecting = await connect(url), asyncio.create_task(project(url, stop))
    rows = await looking.fetchval("SELECT count(*) FROM call_records")
    assert rows
    written: list[int] = []
    observed: list[tuple[int, int]] = []

    async def write() -> None:
        while not stop.is_set():
            event = NewEvent("ami", "X", None, 1.0, b"x")
            written.append(await append_events(writing, "writer", 1, len(written) + 1, [event]))
            await asyncio.sleep(0)

    async def look() -> None:
        while not stop.is_set():
            async with snapshot(looking):
                count = await looking.fetchval("SELECT count(*) FROM call_records")
                at = await looking.fetchval("SELECT min(position) FROM checkpoint WHERE place = 'model'")
            assert count == rows
            observed.append((at, await looking.fetchval("SELECT position FROM head")))
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(write()), asyncio.create_task(look())]
    # A session reads the log for long: the archive waits, and no other session waits for it.
    reader = await asyncpg.connect(url)
    transaction = reader.transaction()
    await transaction.start()
    await reader.fetchval("SELECT count(*) FROM ledger.event")
    archiving = asyncio.create_task(run_archive(url, tmp_path, "2026-05"))
    lock = "SELECT EXISTS (SELECT FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted)"
    await eventually(lambda: looking_at(url, lock), lock)
    count, look_count = len(written), len(observed)
    # While the archive waits for that reader, it lets others through.
    await eventually(lambda: len(written) > count + 20 and len(observed) > look_count + 20, "others go on")
    assert not archiving.done()
    await transaction.rollback()
    done = await archiving
    end = written[-1]
    await eventually(lambda: observed[-1][0] > end, "all read models go on")
    stop.set()
    await asyncio.gather(*tasks, projecting)
    assert done.first_position == ends[1] + 1
    assert written == sorted(written)
    assert [at for at, _ in observed] == sorted(at for at, _ in observed)
    for connection in (looking, writing, reader):
        await connection.close()


async def looking_at(url: str, query: str) -> Any:
    connection = await asyncpg.connect(url)
    result = await connection.fetchval(query)
    await connection.close()
    return result


async def test_impossible_archives_are_refused_in_one_line(url: str, tmp_path: Path) -> None:
    ends = await append_months(url, SIZE)
    connection = await asyncpg.connect(url)
    before = tuple(await connection.fetchrow(STATE))
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "2026-03.jsonl.zst").write_bytes(b"somebody's")
    for arguments, says in (
        (("--before", "2026-07"), "ringledger: 2026-07 is in the future: months before 2026-06 can be archived"),
        (("--before", "2026-6"), "ringledger: '2026-6' is not a month such as 2026-10"),
        (("--before", "2026-13"), "ringledger: '2026-13' is not a month such as 2026-10"),
        (("--before", "yesterday"), "ringledger: 'yesterday' is not a month such as 2026-10"),
        (
            ("--before", "2026-03"),
            "ringledger: nothing to archive before 2026-03: the log starts later, at position 1",
        ),
        (("--before", "2026-05", "--output", str(taken)), "ringledger: nothing was archived: "),
        (("--before", "2026-05", "--output", str(taken / "2026-03.jsonl.zst")), "ringledger: "),
    ):
        code, out, err = await run_command(url, "archive", "--output", str(tmp_path), *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1), (arguments, err)
        assert err.startswith(says), err
        assert tuple(await connection.fetchrow(STATE)) == before
    assert (taken / "2026-03.jsonl.zst").read_bytes() == b"somebody's"
    holder = await asyncpg.connect(url)
    await holder.execute("SELECT pg_advisory_lock($1)", Lock.RETENTION)
    with pytest.raises(ArchiveError, match="a redaction or another archive is running"):
        await run_archive(url, tmp_path, "2026-05")
    await holder.close()
    await fold(url)
    await connection.execute("UPDATE ledger.checkpoint SET position = 700, error = 'why' WHERE model = 'channels'")
    with pytest.raises(ArchiveError, match=rf"read model channels has folded 700 of {ends[1]} .* \(why\)"):
        await run_archive(url, tmp_path, "2026-05")
    await connection.execute("UPDATE ledger.batch SET month = '2026-03-01' WHERE first = 1002")
    with pytest.raises(ArchiveError, match=r"2026-04 starts at position 502, and must follow position 0"):
        await run_archive(url, tmp_path, "2026-05")
    with pytest.raises(ArchiveError, match=r"months from 2026-04 on start at position 502, within"):
        await run_archive(url, tmp_path, "2026-04")
    await connection.execute("UPDATE ledger.batch SET month = '2026-04-01' WHERE first = 1002")
    await connection.execute("INSERT INTO ledger.stale VALUES ('channels', 1)")
    with pytest.raises(ArchiveError, match="run `ringledger redact` again first"):
        await run_archive(url, tmp_path, "2026-05")
    await connection.execute(
        "DELETE FROM ledger.stale; UPDATE ledger.checkpoint SET position = 2000 WHERE model = 'channels';"
        "UPDATE ledger.event SET raw = 'x' WHERE position = 7"
    )
    with pytest.raises(ArchiveError, match="nothing was archived: positions 1 to 500 differ from what was appended"):
        await run_archive(url, tmp_path, "2026-05")
    assert tuple(await connection.fetchrow(STATE)) == before
    await connection.close()


async def test_the_commands_archive_and_verify(url: str, tmp_path: Path) -> None:
    ends = await append_months(url, SIZE)
    code, out, err = await run_command(url, "archive", "--before", "2026-05", "--output", str(tmp_path))
    assert (code, err) == (0, "")
    assert out == (
        f"{tmp_path}/2026-03.jsonl.zst: 501 events in 2 batches, positions 1 to 501\n"
        f"{tmp_path}/2026-04.jsonl.zst: 501 events in 2 batches, positions 502 to 1002\n"
        f"archived; the log starts at position {ends[1] + 1}. Keep these files and their manifests\n"
    )
    code, out, err = await run_command(url, "archive", "--before", "2026-05", "--output", str(tmp_path), "--drop")
    assert (code, out, err) == (0, "dropped the tables of 2026-03, 2026-04\n", "")
    code, out, err = await run_command(url, "verify")
    assert (code, err) == (0, "")
    assert out.splitlines()[1].startswith("archived: 2026-03 to 2026-04, until position 1002, hash ")
    assert out.splitlines()[1].endswith("; not checked: 2026-03.jsonl.zst, 2026-04.jsonl.zst")
    files = [str(tmp_path / name) for name in ("2026-03.jsonl.zst", "2026-04.jsonl.zst")]
    code, out, err = await run_command(url, "verify", "--archive", *files)
    assert (code, err) == (0, "")
    assert out.splitlines()[1].endswith("; 2 files match")
    for arguments, says in (
        (("verify", "--archive"), "ringledger: --archive and FILE... must be given together"),
        (("verify", files[0]), "ringledger: --archive and FILE... must be given together"),
        (("verify", "--archive", str(tmp_path / "none")), f"ringledger: not found: file {tmp_path}/none"),
        (("export", "--output", str(tmp_path / "x"), "--from", "5"), "ringledger: position 5 is archived: 2026-03."),
        (("export", "--output", str(tmp_path / "x"), "--to", "900"), "ringledger: position 900 is archived: 2026-04."),
        (
            ("export", "--output", str(tmp_path / "x"), "--from", "2026-03-01T00:00:00Z"),
            "ringledger: 2026-03-01T00:00:00Z is archived: 2026-03.jsonl.zst",
        ),
        (("as-of", "7", "channels"), "ringledger: position 7 is archived: 2026-03.jsonl.zst holds 2026-03"),
        (("diff", "7", "1500", "channels"), "ringledger: position 7 is archived: 2026-03.jsonl.zst holds 2026-03"),
        (("import", files[0]), f"ringledger: {files[0]}: it is archived: 2026-03.jsonl.zst holds 2026-03"),
    ):
        code, out, err = await run_command(url, *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1), (arguments, out, err)
        assert err.startswith(says), err
    data = bytearray((tmp_path / "2026-03.jsonl.zst").read_bytes())
    data[40] ^= 1
    (tmp_path / "2026-03.jsonl.zst").write_bytes(data)
    code, out, err = await run_command(url, "verify", "--archive", *files)
    assert (code, err) == (1, "")
    assert out.startswith(f"{files[0]}: its SHA-256 is not the one in ")
