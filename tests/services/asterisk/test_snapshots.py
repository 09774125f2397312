"""Snapshots: which lists are requested when, and what the replies mean; the replies are from the recordings."""

from functools import cache

import pytest

from projections import ALL
from services.asterisk.ami import lists
from services.asterisk.ami import snapshots as snapshot
from services.asterisk.ami.blocks import message
from services.asterisk.ami.lists import FREQUENT, RARE, outcome_of
from services.database.connection import connect
from services.projector.projector import Projector
from tests.captures import wire
from tests.support.event_log import EventLog
from tests.support.fake_ami import block
from tests.support.listener import listener_task
from tests.support.pbx22 import DENIED, pbx22, reply_with, reply_with_list
from tests.support.polling import eventually

MEANING = {
    "No Contacts found": "empty",
    "No active conferences.": "empty",
    "Permission denied": "refused",
    "Unable to retrieve endpoint nosuch": "failed",
    "Module not loaded": "failed",
    "No such queue": "failed",
}


@cache
def errors(recording: str) -> list[bytes]:
    blocks = (block.lstrip() for block in wire(recording).split(b"\r\n\r\n"))
    return sorted({block for block in blocks if block.startswith(b"Response: Error")})


@pytest.mark.parametrize("recording", ["rich22", "rich16"])
def test_real_errors_have_different_outcomes(recording: str) -> None:
    outcomes = {
        str(answer.message).strip(): outcome_of([answer], is_booted=False) for answer in map(message, errors(recording))
    }
    unknown = {text for text in outcomes if text.startswith("Invalid/unknown command")}
    assert len(unknown) >= 3
    assert {outcomes[text] for text in unknown} == {"unsupported"}
    assert {text for text, outcome in outcomes.items() if outcome == "empty"} == {
        "No Contacts found",
        "No active conferences.",
        "No resource lists found",
    }
    assert outcomes["Unable to retrieve endpoint nosuch"] == "failed"


@pytest.mark.parametrize(("text", "outcome"), MEANING.items())
def test_an_errors_text_decides_the_outcome(text: str, outcome: str) -> None:
    assert outcome_of([message(block("Response: Error", f"Message: {text}\n"))], is_booted=True) == outcome


def test_an_unknown_action_is_empty_after_the_boot() -> None:
    answer = [message(block("Response: Error", "Message: Invalid/unknown command: SIPpeers."))]
    assert outcome_of(answer, is_booted=False) == "unsupported"
    assert outcome_of(answer, is_booted=True) == "empty"


def test_a_cancelled_list_fails() -> None:
    start, end = block("Response: Success", "EventList: start"), block("Event: AgentsComplete", "EventList: cancelled")
    assert outcome_of([message(start), message(end)], is_booted=True) == "failed"


async def test_details_are_requested_after_the_lists(url: str) -> None:
    async with pbx22() as fake, listener_task(url, fake.pbx()):
        await eventually(lambda: len(fake.actions_named("PJSIPShowEndpoint")) >= 2)
        names = await EventLog(url).until(lambda names: names.count("Response:PJSIPShowEndpoint") >= 2)
    listing = [action["Action"] for action in fake.actions if action["ActionID"].startswith("ringledger/")]
    assert listing == [*FREQUENT, *RARE, "PJSIPShowEndpoint", "PJSIPShowEndpoint"]
    assert names.index("SnapshotCompleted") < names.index("Response:PJSIPShowEndpoint")
    details = fake.actions_named("PJSIPShowEndpoint")
    assert [action["Endpoint"] for action in details] == ["100", "101"]
    (epoch,) = {int(action["ActionID"].split("/")[1]) for action in details}
    outcomes = {e["action"]: e["outcome"] for e in await EventLog(url).ours("SnapshotListed") if e["epoch"] == epoch}
    assert outcomes == {
        **dict.fromkeys([*FREQUENT, *RARE], "complete"),
        "SIPpeers": "empty",
        "SIPshowregistry": "empty",
    }


async def test_reloads_and_new_contacts_trigger_requests(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "SETTLE_SECONDS", 0.05)
    async with pbx22() as fake, listener_task(url, fake.pbx()):
        await eventually(lambda: len(fake.actions_named("PJSIPShowEndpoint")) >= 2)
        known_contact = block(
            "Event: ContactStatus", "URI: sip:100@h", "ContactStatus: Unreachable", "EndpointName: 100"
        )
        fake.send(known_contact + block("Event: ContactStatus", "ContactStatus: NonQualified", "EndpointName: 101"))
        await eventually(lambda: len(fake.actions_named("PJSIPShowEndpoint")) >= 3)
        assert fake.actions_named("PJSIPShowEndpoint")[-1]["Endpoint"] == "101"
        fake.send(block("Event: Reload", "Module: app_queue.so", "Status: 0") * 20)
        await eventually(lambda: len(fake.actions_named("Command")) >= 2)
        fake.replies["PJSIPShowEndpoints"] = reply_with_list(
            *(f"EndpointList|ObjectName: {n}" for n in (100, 101, 102))
        )
        fake.send(block("Event: Reload", "Module: app_queue.so", "Status: 0"))
        await eventually(lambda: len(fake.actions_named("PJSIPShowEndpoint")) >= 4)
        # Known endpoints are requested again only after a reload of PJSIP itself.
        assert fake.actions_named("PJSIPShowEndpoint")[-1]["Endpoint"] == "102"
        fake.send(block("Event: Reload", "Module: res_pjsip.so", "Status: 0"))
        await eventually(lambda: len(fake.actions_named("PJSIPShowEndpoint")) >= 7)
        assert len(fake.actions_named("Command")) == 4


async def test_modules_are_checked_singly_if_command_is_denied(url: str) -> None:
    modules = lists.MODULES.split()
    async with pbx22() as fake, listener_task(url, fake.pbx()):
        fake.replies |= {"Command": DENIED, "ModuleCheck": reply_with("Response: Success", "Version: ")}
        await eventually(lambda: len(fake.actions_named("ModuleCheck")) >= len(modules))
    assert [action["Module"] for action in fake.actions_named("ModuleCheck")] == modules
    assert all(
        action["ActionID"].endswith(f"/ModuleCheck/{action['Module']}") for action in fake.actions_named("ModuleCheck")
    )
    async with pbx22() as fake, listener_task(url, fake.pbx("other")):
        fake.replies |= {"Command": DENIED, "ModuleCheck": DENIED}
        await eventually(lambda: fake.actions_named("ModuleCheck"))
        await eventually(lambda: len(fake.actions_named("PJSIPShowEndpoint")) >= 2)
    assert len(fake.actions_named("ModuleCheck")) == 1


async def test_denied_lists_sweep_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "SETTLE_SECONDS", 0.05)
    tables = ("modules", "peers", "pjsip_aors", "pjsip_auths", "pjsip_contacts", "pjsip_endpoints", "registries")
    connection = await connect(url, search_path="model, ledger")
    projector = Projector(connection, ALL)
    await projector.open()

    async def rows() -> dict[str, int]:
        while await projector.advance():
            pass
        return {table: await connection.fetchval(f"SELECT count(*) FROM {table}") for table in tables}

    async with pbx22() as fake, listener_task(url, fake.pbx()):
        await EventLog(url).until(lambda names: names.count("SnapshotCompleted") >= 1)
        before = await rows()
        assert all(before.values()), before
        for action in (*RARE, "CoreStatus", "CoreShowChannels", "Agents"):  # as Asterisk answers `read = call,agent`
            fake.replies[action] = DENIED
        fake.send(block("Event: Reload", "Module: res_pjsip.so", "Status: 0"))
        await EventLog(url).until(lambda names: names.count("SnapshotCompleted") >= 2)
        assert await rows() == before
        # Once the list is allowed again and empty, it sweeps the table.
        fake.replies["PJSIPShowContacts"] = reply_with("Response: Error", "Message: No Contacts found\n")
        fake.send(block("Event: Reload", "Module: res_pjsip.so", "Status: 0"))
        await EventLog(url).until(lambda names: names.count("SnapshotCompleted") >= 3)
        assert await rows() == {**before, "pjsip_contacts": 0}
    completed = await EventLog(url).ours("SnapshotCompleted")
    assert [event["failed"] for event in completed] == [[], [], []]
    await connection.close()
