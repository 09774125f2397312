"""`ringledger as-of` and `ringledger diff`, on a terminal and in a script."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from projections import ALL
from projections.calls.channels import CHANNELS, Channel
from projections.endpoints.pjsip_auths import PJSIP_AUTHS
from schemas.log import NewEvent
from schemas.users import UserCreated
from services.database.connection import connect
from services.log.append import append_events
from services.projector.table import Table
from services.replay.history_report import masked_columns, printable
from tests.support.folding import FoldSpec, block, own
from tests.support.program import Cli, Run

BEGIN = 1_795_000_000.0
CONTROL_CHARACTERS = "\x1b[31mred\x07\ttab"


def channel(at: float, name: str, unique_id: str, **headers: str) -> NewEvent:
    defaults = {"Uniqueid": unique_id, "Channel": f"PJSIP/{unique_id}", "ChannelState": "4", "ChannelStateDesc": "Ring"}
    return block(name, BEGIN + at, **{**defaults, **headers})


EVENTS = [
    channel(0, "Newchannel", "1.1"),
    channel(1, "Newchannel", "1.2", CallerIDName=CONTROL_CHARACTERS),
    channel(2, "Newstate", "1.1", ChannelState="6", ChannelStateDesc="Up"),
    block("VarSet", BEGIN + 3, Uniqueid="1.1", Variable="PIN_PASSWORD", Value="hush"),
    block("VarSet", BEGIN + 3, Uniqueid="1.1", Variable="COLOUR", Value="blue ü"),
    channel(4, "Hangup", "1.2"),
    channel(5, "Newchannel", "1.3"),
]


@pytest.fixture
async def cli(url: str) -> Cli:
    connection = await connect(url)
    await append_events(connection, "berlin", 1, 1, EVENTS)
    user = UserCreated("u1", "admin", "", "$argon2id$secret", ("admin",), "user")
    await append_events(connection, "", 1, 1, [own(user, BEGIN + 6)])
    await append_events(connection, "wien", 1, 1, [channel(7, "Newchannel", "1.1")])
    await connection.close()
    return Cli(url)


def time_of(seconds: float) -> str:
    return datetime.fromtimestamp(BEGIN + seconds, UTC).isoformat().replace("+00:00", "Z")


def columns(run: Run) -> list[dict[str, str]]:
    head, *lines = run.out.splitlines()
    return [dict(zip(head.split("\t"), line.split("\t"), strict=True)) for line in lines]


async def test_a_script_gets_one_line_per_row(cli: Cli) -> None:
    run = await cli.run("as-of", "5", "channels")
    assert (run.code, run.err) == (0, f"channels as of position 5, {time_of(3)}: 2 rows\n")
    first, second = columns(run)
    assert list(first) == list(Table(CHANNELS).columns)
    assert (first["pbx"], first["unique_id"], first["channel_state_desc"], first["bridge_id"]) == (
        "berlin",
        "1.1",
        "Up",
        "",
    )
    assert json.loads(first["variables"]) == {"PIN_PASSWORD": "********", "COLOUR": "blue ü"}
    assert second["caller_id_name"] == r"\x1b[31mred\x07\ttab"
    by_time = await cli.run("as-of", time_of(3.5), "channels")
    assert (by_time.code, by_time.out) == (0, run.out)


async def test_json_is_one_array_of_rows(cli: Cli) -> None:
    run = await cli.run("as-of", "9", "channels", "--json")
    rows = json.loads(run.out)
    assert [(row["pbx"], row["unique_id"]) for row in rows] == [("berlin", "1.1"), ("berlin", "1.3"), ("wien", "1.1")]
    assert len(run.out.splitlines()) == 5
    assert "hush" not in run.out
    of_wien = await cli.run("as-of", "9", "channels", "--json", "--pbx", "wien")
    assert json.loads(of_wien.out) == rows[2:]
    assert json.loads((await cli.run("as-of", "9", "queues", "--json")).out) == []


async def test_as_of_prints_every_model_without_secrets(cli: Cli) -> None:
    for model in ALL:
        run = await cli.run("as-of", "9", model.name)
        assert run.code == 0, run.err
        assert "argon2id" not in run.out
    assert columns(await cli.run("as-of", "9", "users"))[0]["password_hash"] == "********"


async def test_a_terminal_gets_a_table(cli: Cli) -> None:
    text = await cli.on_terminal("as-of", "5", "channels")
    assert "1.1" in text
    assert "│ channel_state_desc │ Up" in text  # the row is too wide for the terminal: one line per column
    assert "bridge_id" not in text
    assert "\x1b[31m" not in text
    text = await cli.on_terminal("as-of", "9", "users")
    assert "********" in text
    text = await cli.on_terminal("diff", "2", "5", "channels")
    assert "~" in text
    assert "channel_state: 4 -> 6" in text


async def test_diff_prints_added_removed_and_changed_rows(cli: Cli) -> None:
    run = await cli.run("diff", "2", time_of(5), "channels")
    assert run.code == 0
    assert run.err == (
        f"channels from position 2, {time_of(1)} to position 7, {time_of(5)}: 1 added, 1 removed, 1 changed\n"
    )
    added, removed, changed = [line.split("\t") for line in run.out.splitlines()]
    assert added[:3] == ["+", "berlin 1.3", "channel=PJSIP/1.3"]
    assert removed[:2] == ["-", "berlin 1.2"]
    assert changed == [
        *("~", "berlin 1.1", "channel_state: 4 -> 6", "channel_state_desc: Ring -> Up"),
        *("variables.PIN_PASSWORD:  -> ********", "variables.COLOUR:  -> blue ü"),
    ]
    back = await cli.run("diff", "7", "2", "channels", "--json")
    result = json.loads(back.out)
    assert [row["unique_id"] for row in result["came"]] == ["1.2"]
    assert [row["unique_id"] for row in result["went"]] == ["1.3"]
    assert [(c["before"]["channel_state"], c["after"]["channel_state"]) for c in result["changed"]] == [(6, 4)]


async def test_a_diff_of_equal_rows_is_empty(cli: Cli) -> None:
    run = await cli.run("diff", "7", "8", "channels")
    assert (run.code, run.out) == (0, "")
    assert run.err.endswith(": 0 added, 0 removed, 0 changed\n")
    run = await cli.run("diff", "8", "9", "channels", "--pbx", "berlin")
    assert (run.code, run.out) == (0, "")


MODELS = ", ".join(model.name for model in ALL)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("as-of", "yesterday", "queues"), "'yesterday' is neither a position nor a time such as 2026-11-23T14:03:00Z"),
        (("as-of", "10", "queues"), "not found: position 10; the log has 1 to 9"),
        (("as-of", "0", "queues"), "not found: position 0; the log has 1 to 9"),
        (("as-of", "5", "queue"), f"not found: model 'queue'; the models are {MODELS}"),
        (("as-of", "5", "queues", "--pbx", "paris"), "the log holds no PBX 'paris' (but berlin, wien)"),
        (
            ("diff", "1", "2026-11-23", "queues"),
            "'2026-11-23' is neither a position nor a time such as 2026-11-23T14:03:00Z",
        ),
        (("diff", "1", "9999-01-01T00:00:00Z", "queues"), "9999-01-01T00:00:00Z is in the future"),
        (("diff", "1", "2", ""), f"not found: model ''; the models are {MODELS}"),
        (("as-of", "2000-01-01T00:00:00Z", "queues"), None),
    ],
)
async def test_invalid_input_is_one_line_of_error(cli: Cli, arguments: tuple[str, ...], error: str | None) -> None:
    error = error or f"2000-01-01T00:00:00Z is before the first event, at {time_of(0)}"
    assert await cli.run(*arguments) == Run(2, "", f"ringledger: {error}\n")


async def test_an_unusable_database_is_an_error(empty_url: str) -> None:
    run = await Cli(empty_url).run("as-of", "1", "queues")
    assert (run.code, run.out) == (2, "")
    assert run.err.startswith("ringledger: the database holds no ledger of this version; run `ringledger migrate`: ")
    run = await Cli("postgresql://nobody@127.0.0.1:1/none").run("as-of", "1", "queues")
    assert run.code == 1
    assert run.err.startswith("ringledger: PostgreSQL does not answer: ")
    assert len(run.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (1.5, "1.5"),
        ("a\nb\x9b\u202e\\", "a\\nb\\x9b\\u202e\\"),
        ({"a": ["ü", "\x1b"]}, '{"a":["ü","\\u001b"]}'),
        (datetime(2026, 11, 23, 1, 2, 3, 4, UTC), "2026-11-23T01:02:03.000004Z"),
    ],
)
def test_printed_values_have_no_control_characters(value: Any, text: str) -> None:
    assert printable(value) == text


def test_secrets_are_masked_in_every_column() -> None:
    tables = FoldSpec(PJSIP_AUTHS)
    tables.given([block("AuthList", None, ObjectName="a", Username="u", Password="hush", Md5Cred="", Realm="r")])
    ((row,),) = [list(tables.then(PJSIP_AUTHS).values())]
    assert (masked_columns(row)["password"], masked_columns(row)["md5_cred"], masked_columns(row)["username"]) == (
        "********",
        "",
        "u",
    )
    channel_row = Channel("pbx", datetime(2026, 11, 23, tzinfo=UTC), "1.1", variables={"API_TOKEN": "hush", "X": "y"})
    assert masked_columns(channel_row)["variables"] == {"API_TOKEN": "********", "X": "y"}
