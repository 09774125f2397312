"""``ringledger rebuild --diff`` reports exactly the changes of a rebuild, and leaves no tables behind."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import msgspec
import pytest
from msgspec.structs import replace
from rich.console import Console

from projections import ALL
from projections.calls.channels import CHANNELS
from projections.endpoints.device_states import DEVICE_STATES, Device, by_device
from projections.engine.model import Handler, Key, ReadModel
from projections.people.tokens import TOKENS
from projections.people.users import USERS
from schemas.ami.device import DeviceState
from schemas.log import NewEvent
from schemas.users import TokenIssued, UserCreated
from services.database.connection import connect
from services.log.append import append_events
from services.projector.rebuild.diff import Comparison, differences
from services.projector.rebuild.rebuild import RebuildError, rebuild
from services.projector.rebuild.report import lines, table
from services.projector.table import Table
from tests.support.database import SCHEMA, cloned, name_of
from tests.support.note_model import NoteWriter
from tests.support.rebuilding import EVENTS, FOLDED, run_command, running_projector, start_command, wait_for

NOTHING_LEFT = "SELECT count(*) = 0 FROM pg_class WHERE relpersistence = 't'"
FOLDING = "SELECT count(*) > $1 FROM pg_class WHERE relpersistence = 't' AND relkind = 'r'"


@pytest.fixture
async def url(postgresql_url: str, rebuilt_url: str) -> AsyncIterator[str]:
    """A database whose log has a recording, with all its read models."""
    async with cloned(postgresql_url, name_of(rebuilt_url)) as url:
        yield url


def rendered(comparisons: list[Comparison]) -> str:
    result = table(comparisons)
    assert result is not None
    console = Console(width=160)
    with console.capture() as captured:
        console.print(result)
    return captured.get()


def verdict(comparisons: list[Comparison]) -> str:
    return lines(comparisons)[-1].rpartition(": ")[2]


async def test_correct_tables_do_not_differ(url: str, connection: asyncpg.Connection) -> None:
    comparisons = await differences(url, ALL)
    tables = [name for model in ALL for name in Table(model, "model").names]
    rows = sum([await connection.fetchval(f"SELECT count(*) FROM {name}") for name in tables])
    assert rows > 300
    assert lines(comparisons) == [
        f"compared {len(ALL)} read models, {rows:,} rows, at position {EVENTS}: nothing differs"
    ]
    assert table(comparisons) is None
    await wait_for(connection, NOTHING_LEFT)
    assert await connection.fetchval("SELECT count(*) FROM ledger.rebuild WHERE ended IS NULL") == 0


async def test_differing_rows_are_named_and_counted(url: str, connection: asyncpg.Connection) -> None:
    first, second, third = await connection.fetch("SELECT device, state FROM device_states ORDER BY device LIMIT 3")
    await connection.execute("UPDATE device_states SET state = 'ODD' WHERE device = $1", first["device"])
    await connection.execute("DELETE FROM device_states WHERE device = $1", second["device"])
    await connection.execute("UPDATE device_states SET device = 'zzz' WHERE device = $1", third["device"])
    code, out, err = await run_command(url, "rebuild", "--diff", "device_states", "channels")
    assert (code, err) == (1, "")
    total = await connection.fetchval("SELECT (SELECT count(*) FROM device_states) + (SELECT count(*) FROM channels)")
    assert out.splitlines()[-1] == (
        f"compared device_states, channels, {total} rows, at position {EVENTS}: 4 rows differ (device_states 4)"
    )
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if line.startswith("│")]
    assert cells == [
        ["device_states", f"pbx {first['device']}", "state", "ODD", first["state"]],
        ["device_states", f"pbx {second['device']}", "", "no such row", "a row"],
        ["device_states", f"pbx {third['device']}", "", "no such row", "a row"],
        ["device_states", "pbx zzz", "", "a row", "no such row"],
    ]
    assert await connection.fetchval("SELECT state FROM device_states WHERE device = $1", first["device"]) == "ODD"


async def test_many_differing_rows_are_shown_in_part(url: str, connection: asyncpg.Connection) -> None:
    count = await connection.fetchval("SELECT count(*) FROM call_records")
    await connection.execute("DELETE FROM call_records; UPDATE queues SET calls = 77")
    comparisons = await differences(url, ALL)
    queues = await connection.fetchval("SELECT count(*) FROM queues")
    assert verdict(comparisons) == f"{count + queues:,} rows differ (call_records {count:,}, queues {queues})"
    assert f"... and {count - 20:,} rows more" in rendered(comparisons)
    assert rendered(comparisons).count("no such row") == 20


def lowercase(_row: Device | None, e: DeviceState) -> Device:
    return Device(pbx=e.pbx, tm_update=e.at, device=e.device, state=e.state.lower())


def broken(_row: Device | None, e: DeviceState) -> Device:
    raise KeyError(e.device)


class Located(Device):
    place: str = "somewhere"


def with_place(_row: Located | None, e: DeviceState) -> Located:
    return Located(pbx=e.pbx, tm_update=e.at, device=e.device, state=e.state)


def by_device_and_place(e: DeviceState) -> Key | None:
    device = by_device(e)
    return device and (*device, "somewhere")


def devices(fold: Any, key: Any = by_device, version: int = 2, **changes: Any) -> ReadModel:
    on = {"DeviceStateChange": Handler(DeviceState, key, fold, list_item_wins=True)}
    return replace(DEVICE_STATES, version=version, on=on, **changes)


async def test_another_version_is_compared_with_the_served_one(url: str, connection: asyncpg.Connection) -> None:
    comparisons = await differences(url, [devices(lowercase), CHANNELS])
    count = await connection.fetchval("SELECT count(*) FROM device_states")
    assert verdict(comparisons) == f"{count} rows differ (device_states {count})"
    assert lines(comparisons)[0] == "device_states: version 1 is served, version 2 was folded"
    assert "│ NOT_INUSE │ not_inuse │" in " ".join(rendered(comparisons).split())
    assert await connection.fetchval("SELECT count(*) FROM checkpoint WHERE place = 'rebuild'") == 0


async def test_added_and_removed_columns_are_named(url: str, connection: asyncpg.Connection) -> None:
    comparisons = await differences(url, [devices(with_place, row=Located)])
    assert lines(comparisons)[0] == "device_states: columns removed: none; added: place"
    assert (verdict(comparisons), comparisons[0].differing) == ("models differ", 0)
    await connection.execute("ALTER TABLE device_states ADD COLUMN old text")
    await connection.execute(
        "UPDATE device_states SET state = 'ODD' WHERE device = (SELECT min(device) FROM device_states)"
    )
    comparisons = await differences(url, [devices(with_place, row=Located)])
    assert lines(comparisons)[0] == "device_states: columns removed: old; added: place"
    assert verdict(comparisons) == "1 rows differ (device_states 1)"


async def test_a_new_key_makes_other_rows(url: str, connection: asyncpg.Connection) -> None:
    rekeyed = replace(devices(with_place, by_device_and_place, row=Located), key=("device", "place"))
    comparisons = await differences(url, [rekeyed])
    count = await connection.fetchval("SELECT count(*) FROM device_states")
    assert comparisons[0].differing == 0  # without the added column the rows are the same
    await connection.execute(
        "UPDATE device_states SET state = 'ODD' WHERE device = (SELECT min(device) FROM device_states)"
    )
    comparisons = await differences(url, [rekeyed])
    assert (comparisons[0].rows, comparisons[0].differing) == (count, 2)


async def test_failing_code_is_a_difference(url: str, connection: asyncpg.Connection) -> None:
    comparisons = await differences(url, [devices(broken, version=1), CHANNELS])
    assert lines(comparisons)[0].startswith("device_states: the present code stops at position ")
    assert "(DeviceStateChange): KeyError(" in lines(comparisons)[0]
    assert verdict(comparisons) == "models differ"
    assert await connection.fetchval("SELECT count(*) FROM checkpoint WHERE error IS NOT NULL") == 0


async def test_each_model_is_compared_at_its_position(url: str, connection: asyncpg.Connection) -> None:
    """One model stopped in the middle of the log, and its table is as of that position."""
    await connection.execute("UPDATE checkpoint SET position = 10000, error = 'stopped' WHERE model = 'device_states'")
    comparisons = await differences(url, ALL)
    assert {c.position for c in comparisons} == {10000, EVENTS}
    assert f"at positions 10000 to {EVENTS}: " in lines(comparisons)[-1]
    assert {c.model.name for c in comparisons if c.differs} == {"device_states"}
    await rebuild(url, [DEVICE_STATES], 20000, asyncio.Event())
    assert verdict(await differences(url, ALL)) == "nothing differs"


async def test_a_diff_is_exact_while_the_projector_runs(url: str, connection: asyncpg.Connection) -> None:
    async with running_projector(url, connection):
        done = asyncio.Event()

        async def write() -> None:
            writer = NoteWriter(await connect(url))
            number = 0
            while not done.is_set():
                number += 1
                raw = (
                    f"Event: DeviceStateChange\r\nDevice: PJSIP/{number % 50}\r\nState: S{number}\r\n\r\n"
                    f"Event: Newchannel\r\nUniqueid: {number % 70}.1\r\nChannel: PJSIP/{number}-1\r\n\r\n"
                )
                await writer.write_wire(raw.encode())
            await writer._connection.close()

        writing = asyncio.create_task(write())
        await wait_for(connection, FOLDED, EVENTS + 1)
        positions = []
        for _ in range(4):
            comparisons = await differences(url, [CHANNELS, DEVICE_STATES])
            assert (verdict(comparisons), table(comparisons)) == ("nothing differs", None)
            positions.append(comparisons[0].position)
        done.set()
        await writing
    assert EVENTS < positions[0] < positions[1] < positions[2] < positions[3]


async def test_a_killed_diff_leaves_no_tables(url: str, connection: asyncpg.Connection) -> None:
    process = await start_command(url, "rebuild", "--diff")
    await wait_for(connection, FOLDING, len(ALL))
    process.kill()
    await process.communicate()
    await wait_for(connection, NOTHING_LEFT)
    assert await connection.fetchval("SELECT count(*) FROM checkpoint") == len(ALL)


async def test_hashes_are_cut_in_the_output(url: str, connection: asyncpg.Connection) -> None:
    bob = UserCreated("u1", "bob", "Bob", "$argon2id$secret", ("admin",), origin="user")
    token = TokenIssued("0123456789abcdef", "u1", actor="u1")
    facts = [NewEvent("ringledger", type(e).__name__, None, 1.0, msgspec.json.encode(e)) for e in (bob, token)]
    await append_events(connection, "", 1, 1, facts)
    await rebuild(url, [USERS, TOKENS], None, asyncio.Event())
    await connection.execute("UPDATE users SET password_hash = '$argon2id$other', name = 'Rob'; DELETE FROM tokens")
    output = rendered(await differences(url, [USERS, TOKENS]))
    assert "Rob" in output
    assert "0123456…" in output
    assert not {"secret", "other", "89abcdef"} & set(output.replace("$", " ").split())


async def test_a_model_without_a_table_is_refused(postgresql_url: str) -> None:
    async with cloned(postgresql_url, SCHEMA) as url:
        with pytest.raises(RebuildError, match="nothing to compare: channels has no table yet"):
            await differences(url, [CHANNELS])
