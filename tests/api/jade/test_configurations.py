"""Configuration through the API, over a scripted PBX that keeps files as Asterisk does."""

import asyncio
import copy
from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest

from api.app_keys import CHECKPOINTS
from schemas.configuration import ConfigurationRead
from schemas.log import Connected
from services.asterisk.config.rehearsal import REHEARSAL
from services.commander.commander import Commander
from services.projector.checkpoints.checkpoints import CheckpointReading
from services.projector.checkpoints.watcher import CheckpointWatcher
from tests.support.api_client import Client, Serve, serve_as_admin
from tests.support.config_pbx import Category, ConfigFile, ConfigPbx, Variable
from tests.support.fake_ami import FakeAmi, block
from tests.support.ledger import Ledger
from tests.support.polling import eventually

DIALPLAN = "/v1/admin/dialplan/configurations"
PJSIP = "/v1/admin/pjsip/configurations/pjsip.conf"
QUEUES = "/admin/queue/configurations/queues.conf"
PASSWORD = "very-secret-word"
NEW_PASSWORD = "another-secret-word"


def lines(*pairs: str, place: str = "") -> list[Variable]:
    return [Variable(name.strip(), value.strip(), place) for name, _, value in (pair.partition("=") for pair in pairs)]


@pytest.fixture
def files() -> ConfigPbx:
    return ConfigPbx(
        extensions=ConfigFile(
            Category("general", lines=lines("static = yes")),
            Category("internal", lines=lines("exten = 100,1,Answer()", "same = n,Hangup()")),
        ),
        res_parking=ConfigFile(Category("default", lines=lines("parkpos = 701-720", "context = parkedcalls"))),
        pjsip=ConfigFile(
            Category("phone", template=True, lines=lines("type = endpoint", "context = internal")),
            Category("100", inherits=("phone",), place="phones.conf", lines=lines("auth = 100", place="phones.conf")),
            Category(
                "100",
                place="phones.conf",
                lines=lines("type = auth", "username = 100", f"password = {PASSWORD}", place="phones.conf"),
            ),
        ),
        queues=ConfigFile(
            Category("general"),
            Category("sales", lines=lines("strategy = ringall", "member = PJSIP/100", "member = PJSIP/101")),
        ),
    )


@pytest.fixture
async def ami(ledger: Ledger, files: ConfigPbx) -> AsyncIterator[FakeAmi]:
    stop = asyncio.Event()
    async with FakeAmi() as fake:
        files.attach(fake)
        running = asyncio.create_task(Commander(fake.pbx(), ledger.url).run(stop))
        yield fake
        stop.set()
        await running


@pytest.fixture
async def client(serve: Serve, ledger: Ledger, ami: FakeAmi) -> Client:
    client = await serve_as_admin(serve)
    await ledger.write(Connected("127.0.0.1:5038"))

    async def there() -> bool:
        links = await ledger.connection.fetchval("SELECT count(*) FROM links")
        return ami.logins > 0 and links > 0 and (await client.get(QUEUES)).status == 200

    await eventually(there, "the files have been read")
    return client


async def result(client: Client, path: str) -> Any:
    reply = await client.get(path)
    assert reply.status == 200, await reply.text()
    return (await reply.json())["result"]


async def names(client: Client, path: str) -> list[str]:
    return [item["name"] for item in (await result(client, path))["list"]]


async def message(reply: Any, status: int) -> str:
    body = await reply.json()
    assert reply.status == status, body
    words: str = body["message"]
    return words


async def no_secret(ledger: Ledger) -> None:
    """No secret is anywhere in the database."""
    for word in (PASSWORD, NEW_PASSWORD):
        for table in ("configurations", "acts", "requests", "secret"):
            assert not await ledger.connection.fetch(f"SELECT FROM {table} t WHERE strpos(t::text, $1) > 0", word), (
                table
            )
        rows = await ledger.connection.fetch(
            "SELECT name FROM event WHERE position(convert_to($1, 'UTF8') IN raw) > 0", word
        )
        assert not rows


async def test_the_files_as_they_are(client: Client) -> None:
    (one,) = (await result(client, DIALPLAN))["list"]
    text = "[general]\nstatic = yes\n\n[internal]\nexten => 100,1,Answer()\nsame => n,Hangup()\n"
    assert (one["name"], one["data"], one["pbx"]) == ("extensions.conf", text, "pbx")
    assert (await result(client, f"{DIALPLAN}/extensions.conf"))["data"] == text
    assert "strategy = ringall" in (await result(client, QUEUES))["data"]
    assert "parkpos = 701-720" in (await result(client, "/v1/admin/park/configurations/res_parking.conf"))["data"]
    assert (await client.get(f"{DIALPLAN}/queues.conf")).status == 404


async def test_a_written_text_keeps_the_old_version(client: Client, files: ConfigPbx) -> None:
    old = (await result(client, f"{DIALPLAN}/extensions.conf"))["data"]
    new = old.replace("n,Hangup()", "n,Wait(1)") + "\n[more]\nexten => 5,1,Answer()\n"
    reply = await client.put(f"{DIALPLAN}/extensions.conf", json={"data": new})
    assert reply.status == 200, await reply.text()
    assert (await reply.json()).keys() == {"api_ver", "statuscode", "timestamp"}
    assert files.reloads == ["pbx_config.so"]
    assert [c.name for c in files.files["extensions.conf"].categories] == ["general", "internal", "more"]
    current, earlier = (await result(client, DIALPLAN))["list"]
    assert (current["name"], current["data"], earlier["data"]) == ("extensions.conf", new, old)
    assert earlier["name"].startswith("extensions.conf.20")
    path = f"{DIALPLAN}/{quote(earlier['name'], safe='')}"
    assert (await result(client, path))["data"] == old
    assert "earlier version" in await message(await client.put(path, json={"data": old}), 409)
    assert "earlier version" in await message(await client.put(path, data=b"no JSON"), 409)
    assert (await client.put(f"{DIALPLAN}/gone.conf", data=b"no JSON")).status == 404
    assert (await client.delete(path)).status == 200
    assert await names(client, DIALPLAN) == ["extensions.conf"]
    assert (await client.delete(path)).status == 404
    assert (await client.delete(f"{DIALPLAN}/extensions.conf")).status == 409


async def test_a_mistake_changes_nothing(client: Client, ami: FakeAmi) -> None:
    reply = await client.put(
        f"{DIALPLAN}/extensions.conf", json={"data": "[internal]\nexten => 100,1,Answer()\noops\n"}
    )
    assert await message(reply, 400) == "line 3: this line has no ="
    assert not ami.actions_named("UpdateConfig")
    assert not ami.actions_named("Reload")
    assert (await client.put(f"{DIALPLAN}/extensions.conf", json={"text": ""})).status == 400


async def test_a_change_that_asterisk_ignores_is_undone(client: Client, files: ConfigPbx) -> None:
    old = (await result(client, QUEUES))["data"]
    files.refuses.add("bad")
    words = await message(await client.put(QUEUES, json={"data": old + "\n[bad]\nstrategy = ringall\n"}), 502)
    assert words == "Asterisk has read queues.conf, but there is no queue bad; the former content has been restored"
    assert [c.name for c in files.files["queues.conf"].categories] == ["general", "sales"]
    assert files.reloads == ["app_queue.so", "app_queue.so"]
    assert (await result(client, QUEUES))["data"] == old
    assert await names(client, "/v1/admin/queue/configurations") == ["queues.conf"]


async def test_a_rejected_object_restores_the_old_text(client: Client, files: ConfigPbx) -> None:
    old = (await result(client, PJSIP))["data"]
    bad = old.replace("context = internal", "no_such_option = 1")
    words = await message(await client.put(PJSIP, json={"data": bad}), 502)
    assert words.startswith(
        "Asterisk does not accept the changed endpoint 100; its log has the reason; the former content"
    )
    assert (await result(client, PJSIP))["data"] == old
    assert {c.name for c in files.takes["pjsip.conf"]} == {"100"}


async def test_a_file_that_cannot_be_written(client: Client, files: ConfigPbx) -> None:
    files.files["queues.conf"].breaks = True
    words = await message(await client.put(QUEUES, json={"data": "[general]\n"}), 502)
    assert words.startswith("Save of config failed; ")
    assert files.reloads == ["app_queue.so"]


@pytest.mark.parametrize("coding", ["", "-gzip"])
async def test_if_match(client: Client, files: ConfigPbx, coding: str) -> None:
    reply = await client.get(QUEUES)
    old = {"If-Match": f'"other", {reply.headers["ETag"][:-1]}{coding}"'}
    assert (await client.put(QUEUES, json={"data": "[general]\n[a]\nstrategy = ringall\n"}, headers=old)).status == 200
    assert "changed since you read it" in await message(
        await client.put(QUEUES, json={"data": "[general]\n"}, headers=old), 409
    )
    fresh = {"If-Match": (await client.get(QUEUES)).headers["ETag"]}
    # The file is edited by hand, and not read since.
    files.files["queues.conf"].categories.append(Category("by-hand"))
    assert "changed since you read it" in await message(
        await client.put(QUEUES, json={"data": "[general]\n"}, headers=fresh), 409
    )
    assert (await client.put(QUEUES, json={"data": "[general]\n"})).status == 200
    texts = [item["data"] for item in (await result(client, "/v1/admin/queue/configurations"))["list"]]
    assert len(texts) == 4
    assert any("by-hand" in text for text in texts)


async def test_a_conflict_waits_for_the_view(
    client: Client, ledger: Ledger, files: ConfigPbx, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = {"If-Match": (await client.get(QUEUES)).headers["ETag"]}
    files.files["queues.conf"].categories.append(Category("by-hand"))
    checkpoints: CheckpointWatcher = client.app[CHECKPOINTS]
    reads = asyncio.Event()
    folded, look = checkpoints.wait_folded, checkpoints.read

    async def failed() -> bool:
        return bool(await ledger.connection.fetchval("SELECT count(*) FROM acts WHERE state = 'failed'"))

    async def folded_late(models: Sequence[str], position: int) -> None:
        """Let the tables have the outcome before this process has read their checkpoints."""
        if tuple(models) == ("configurations",):
            reads.set()
        await folded(models, position)
        if tuple(models) == ("acts",):
            reads.clear()
            await eventually(failed, "the act has failed")

    async def look_later(connection: asyncpg.Connection) -> CheckpointReading:
        await reads.wait()
        return await look(connection)

    reads.set()
    monkeypatch.setattr(checkpoints, "wait_folded", folded_late)
    monkeypatch.setattr(checkpoints, "read", look_later)
    reply = await client.put(QUEUES, json={"data": "[general]\n"}, headers=fresh)
    assert reply.status == 409
    assert checkpoints.reading.position(("configurations",)) >= int(reply.headers["X-Ledger-Position"])
    assert "[by-hand]" in (await result(client, QUEUES))["data"]


async def test_a_newer_text_than_the_tag_conflicts(
    client: Client, ledger: Ledger, files: ConfigPbx, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commander has recorded an edit by hand, and the API has not read the checkpoints since."""
    reply = await client.get(QUEUES)
    old = {"If-Match": reply.headers["ETag"]}

    async def never(_connection: asyncpg.Connection) -> CheckpointReading:
        return await asyncio.Future[CheckpointReading]()

    monkeypatch.setattr(client.app[CHECKPOINTS], "read", never)
    files.files["queues.conf"].categories.append(Category("by-hand"))
    by_hand = ConfigurationRead("queues.conf", (await reply.json())["result"]["data"] + "\n[by-hand]\n")
    await ledger.write(by_hand)
    text = "SELECT text FROM configurations WHERE name = 'queues.conf'"

    async def is_recorded() -> bool:
        return bool(await ledger.connection.fetchval(text) == by_hand.text)

    await eventually(is_recorded, "the view's table has the edit")
    reply = await client.put(QUEUES, json={"data": "[general]\n"}, headers=old)
    assert "changed since you read it" in await message(reply, 409)
    assert "by-hand" in {category.name for category in files.files["queues.conf"].categories}


async def test_concurrent_writes_are_done_in_turn(client: Client, files: ConfigPbx) -> None:
    made = await asyncio.gather(
        *(
            client.post("/v1/admin/queue/cfg_queues", json={"name": f"q{n}", "data": {"strategy": "linear"}})
            for n in range(4)
        )
    )
    assert [reply.status for reply in made] == 4 * [200]
    assert {c.name for c in files.files["queues.conf"].categories} == {"general", "sales", "q0", "q1", "q2", "q3"}
    assert len(await names(client, "/v1/admin/queue/configurations")) == 5


async def test_no_secret_is_served_or_stored(client: Client, ledger: Ledger, files: ConfigPbx) -> None:
    old = (await result(client, PJSIP))["data"]
    assert "password = ********" in old
    await no_secret(ledger)
    # The password stays where it is masked, and its file and that of the other lines stay what they were.
    new = old.replace("username = 100", "username = one")
    assert (await client.put(PJSIP, json={"data": new})).status == 200
    assert files.files["pjsip.conf"].categories[2].lines[1:] == lines(
        "username = one", f"password = {PASSWORD}", place="phones.conf"
    )
    assert (await client.put(PJSIP, json={"data": new.replace("********", NEW_PASSWORD)})).status == 200
    assert files.files["pjsip.conf"].categories[2].lines[2].value == NEW_PASSWORD
    assert (await result(client, PJSIP))["data"] == new
    await no_secret(ledger)
    unknown = new + "\n[200]\ntype = auth\npassword = ********\n"
    assert "no present value to keep" in await message(await client.put(PJSIP, json={"data": unknown}), 400)
    await no_secret(ledger)


async def test_included_sections_get_no_lines(client: Client, files: ConfigPbx) -> None:
    old = (await result(client, PJSIP))["data"]
    before = files.files["pjsip.conf"].categories
    words = await message(
        await client.put(PJSIP, json={"data": old.replace("auth = 100", "auth = 100\naors = 100")}), 409
    )
    assert "[100] is in an included file" in words
    assert files.files["pjsip.conf"].categories == before
    assert [c.name for c in files.takes["pjsip.conf"]] == ["100", "100"]


async def edited_by_hand(client: Client) -> str:
    """Return pjsip.conf as the commander reads it now."""
    assert (await client.delete("/v1/manager/trunks/none")).status == 404
    return str((await result(client, PJSIP))["data"])


async def test_lines_outside_their_section_refuse_changes(client: Client, files: ConfigPbx) -> None:
    """``[100](+)`` in pjsip.conf adds a line to a section of phones.conf: Asterisk would write it into another one."""
    file = files.files["pjsip.conf"]
    file.categories[1].lines += lines("language = de")
    before = copy.deepcopy(file.categories)
    old = await edited_by_hand(client)
    for reply in (
        await client.post("/v1/manager/trunks", json={"name": "more", "hostname": "192.0.2.1"}),
        await client.put(PJSIP, json={"data": old.replace("context = internal", "context = other")}),
    ):
        assert await message(reply, 409) == (
            "pjsip.conf has lines of [100] in another file than its section: write them into the section, without (+)"
        )
    assert file.categories == before
    assert await edited_by_hand(client) == old
    assert files.files[REHEARSAL].categories == []


async def test_moved_lines_of_included_files_return(client: Client, files: ConfigPbx) -> None:
    """``[phone](+)`` in phones.conf adds a line to a section of pjsip.conf."""
    file = files.files["pjsip.conf"]
    file.categories.insert(
        0, Category("global", place="phones.conf", lines=lines("type = global", place="phones.conf"))
    )
    file.categories[1].lines += lines("language = de", place="phones.conf")
    old = await edited_by_hand(client)
    words = await message(await client.put(PJSIP, json={"data": old.replace("internal", "other")}), 502)
    assert words == (
        "Asterisk has written lines of an included file of pjsip.conf into another section;"
        " the former content has been restored"
    )
    assert await edited_by_hand(client) == old
    assert files.files[REHEARSAL].categories == []
    assert (await client.put(PJSIP, json={"data": old.replace("internal", "other")})).status == 200


async def test_static_dialplans(client: Client) -> None:
    (one,) = (await result(client, "/v1/admin/dialplan/sdps"))["list"]
    assert one["name"] == "internal"
    assert one["data"] == [{"exten": "> 100,1,Answer()"}, {"same": "> n,Hangup()"}]
    data = [{"exten": "> 5,1,NoOp(a)"}, {"same": "n,Hangup()"}]
    created = await client.post("/v1/manager/sdialplans", json={"name": "new one", "data": data})
    assert (created.status, created.headers["Location"]) == (200, "/v1/manager/sdialplans/new%20one")
    assert (await client.post("/manager/sdialplans", json={"name": "NEW ONE", "data": data})).status == 409
    shown = await result(client, "/v1/admin/dialplan/sdps/new%20one")
    assert shown["data"] == [{"exten": "> 5,1,NoOp(a)"}, {"same": "> n,Hangup()"}]
    changed = {"data": [{"exten": "> 6,1,Answer()"}]}
    assert (await client.put("/admin/dialplan/sdps/new%20one", json=changed)).status == 200
    assert (await result(client, "/manager/sdialplans/new%20one"))["data"] == changed["data"]
    assert (await client.delete("/v1/manager/sdialplans/new%20one")).status == 200
    assert await names(client, "/v1/manager/sdialplans") == ["internal"]
    for method in ("PUT", "DELETE"):
        assert (await client.request(method, "/v1/admin/dialplan/sdps/gone", json=changed)).status == 404
        assert (await client.request(method, "/v1/admin/dialplan/sdps/general", json=changed)).status == 404
    bad = {"data": [{"exten": "> 6,1,Answer()"}, {"exten": "> 7"}]}
    assert "(item 2)" in await message(await client.put("/v1/admin/dialplan/sdps/internal", json=bad), 400)


@pytest.mark.parametrize(
    "data", [{}, [{}], [{"exten": "> 1,1,A()", "same": "n,B()"}], [{"exten": 1}], [{"exten": "1,1,A()\r\nx"}], "x"]
)
async def test_no_dialplan(client: Client, ami: FakeAmi, data: Any) -> None:
    assert (await client.put("/v1/admin/dialplan/sdps/internal", json={"data": data})).status == 400
    assert not ami.actions_named("UpdateConfig")


async def test_queues_and_their_members(client: Client) -> None:
    shown = await result(client, "/v1/admin/queue/cfg_queues/sales")
    assert shown["data"] == {"strategy": "ringall", "member": ["PJSIP/100", "PJSIP/101"]}
    made = {"name": "new", "data": {"strategy": "linear", "member": ["PJSIP/5", "PJSIP/6"], "timeout": "5"}}
    assert (await client.post("/v1/admin/queue/cfg_queues", json=made)).status == 200
    assert (await result(client, "/v1/admin/queue/cfg_queues/new"))["data"] == made["data"]
    assert (await client.put("/v1/admin/queue/cfg_queues/new", json={"data": {"strategy": "ringall"}})).status == 200
    assert (await result(client, "/v1/admin/queue/cfg_queues/new"))["data"] == {"strategy": "ringall"}
    assert (await client.delete("/v1/admin/queue/cfg_queues/new")).status == 200
    assert await names(client, "/v1/admin/queue/cfg_queues") == ["sales"]


async def test_parking_lots(client: Client) -> None:
    made = {"name": "edvina", "data": {"context": "edvina_park", "parkpos": "800-850"}}
    assert (await client.post("/v1/admin/park/cfg_parkinglots", json=made)).status == 200
    change = {"parkpos": "> 800-900", "findslot": "> next", "comebacktoorigin": "no"}
    assert (await client.put("/v1/admin/park/parkinglots/edvina", json=change)).status == 200
    assert (await result(client, "/admin/park/cfg_parkinglots/edvina"))["data"] == {
        "context": "edvina_park",
        "parkpos": "800-900",
        "findslot": "next",
        "comebacktoorigin": "no",
    }
    assert (await client.put("/v1/admin/park/parkinglots/gone", json=change)).status == 404
    assert (await client.put("/v1/admin/park/parkinglots/edvina", json={"findslot": 1})).status == 400
    assert (await client.delete("/v1/admin/park/parkinglots/edvina")).status == 200
    assert await names(client, "/v1/admin/park/cfg_parkinglots") == ["default"]


async def test_trunks(client: Client, ledger: Ledger, files: ConfigPbx) -> None:
    made = {"name": "provider", "hostname": "sip.example.org", "username": "u", "password": PASSWORD, "context": "in"}
    reply = await client.post("/v1/manager/trunks", json=made)
    assert reply.status == 200, await reply.text()
    shown = await result(client, "/v1/manager/trunks/provider")
    assert {name: shown[name] for name in shown if name not in {"pbx", "tm_update"}} == {
        "name": "provider",
        "status": "",
        "server_uri": "sip:sip.example.org",
        "client_uri": "sip:u@sip.example.org",
        "username": "u",
        "password": "********",
        "contact": "sip:sip.example.org",
        "context": "in",
        "hostname": "sip.example.org",
        "match": "sip.example.org",
    }
    assert (await client.post("/v1/manager/trunks", json=made)).status == 409
    change = {"hostname": "sip2.example.org", "context": "other", "password": "********"}
    assert (await client.put("/v1/manager/trunks/provider", json=change)).status == 200
    shown = await result(client, "/v1/manager/trunks/provider")
    assert (shown["server_uri"], shown["client_uri"]) == ("sip:sip2.example.org", "sip:u@sip2.example.org")
    assert (shown["match"], shown["context"]) == ("sip2.example.org", "other")
    assert PASSWORD in {line.value for c in files.files["pjsip.conf"].categories for line in c.lines}
    await no_secret(ledger)
    assert (await client.delete("/v1/manager/trunks/provider")).status == 200
    assert (await result(client, "/v1/manager/trunks"))["list"] == []
    assert [c.name for c in files.files["pjsip.conf"].categories] == ["phone", "100", "100"]
    assert (await client.put("/v1/manager/trunks/provider", json=change)).status == 404
    assert (await client.post("/v1/manager/trunks", json={"name": "x"})).status == 400


async def test_a_file_that_is_not_there_is_made(client: Client, files: ConfigPbx) -> None:
    del files.files["res_parking.conf"]
    made = {"name": "lot", "data": {"parkpos": "1-5", "context": "x"}}
    assert (await client.post("/v1/admin/park/cfg_parkinglots", json=made)).status == 200
    assert [c.name for c in files.files["res_parking.conf"].categories] == ["lot"]


async def test_a_user_without_config_cannot_read_files(client: Client, ami: FakeAmi) -> None:
    ami.replies["GetConfig"] = lambda action: block(
        "Response: Error", f"ActionID: {action['ActionID']}", "Message: Permission denied"
    )
    assert await message(await client.put(QUEUES, json={"data": "[general]\n"}), 502) == "Permission denied"


async def test_a_link_that_is_lost_in_the_middle(client: Client, files: ConfigPbx, ami: FakeAmi) -> None:
    ami.hangs_up_at.add("Reload")
    reply = await client.post("/v1/admin/queue/cfg_queues", json={"name": "new", "data": {"strategy": "linear"}})
    assert reply.status == 504
    assert isinstance((await reply.json())["position"], int)
    ami.hangs_up_at.clear()

    async def is_listed() -> bool:
        return "new" in await names(client, "/v1/admin/queue/cfg_queues")

    await eventually(is_listed, "the file is listed when the link is back")
    assert [c.name for c in files.files["queues.conf"].categories] == ["general", "sales", "new"]
