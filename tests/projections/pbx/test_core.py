"""The PBX itself and its modules, for an AMI account with all permissions and for one without."""

from projections.pbx.modules import MODULES
from projections.pbx.systems import SYSTEMS
from schemas.log import Connected
from tests.support.folding import FoldSpec, ami

TABLE = """\
Module                         Description                              Use Count  Status      Support Level
acl                            Named ACL system                         2          Running              core
app_dial.so                    Dialing Application                      0          Running              core
app_blind_transfer.so          Blind transfer channel to the given dest 0          Running          extended
res_pjsip_outbound_authenticator_digest.so PJSIP authentication resource            1          Running          core
res_odd.so                     Needs 2 Running daemons                  0          Not Running      unknown
5 modules loaded"""
ACTION_ID = "ringledger/7/Command/modules"


def module_show(text: str, action_id: str = ACTION_ID) -> bytes:
    lines = "".join(f"Output: {line}\r\n" for line in text.split("\n"))
    block = ami("Response:Command", ActionID=action_id, Message="Command output follows")
    return block[:-2] + lines.encode() + b"\r\n"


def test_a_system_row_starts_with_the_banner() -> None:
    systems = FoldSpec(SYSTEMS)
    (row,) = systems.when(Connected("127.0.0.1:5038", "Asterisk Call Manager/11.0.0")).then(pbx="pbx").values()
    assert (row.id, row.ami_version, row.ast_version) == ("pbx", "11.0.0", "")
    refused = {"Response": "Error", "Message": "Permission denied"}
    (row,) = (
        systems.when(ami("Response:CoreStatus", **refused), ami("Response:CoreSettings", **refused))
        .then(pbx="pbx")
        .values()
    )
    assert (row.ami_version, row.startup_date) == ("11.0.0", "")
    settings = {"AMIversion": "11.0.0", "AsteriskVersion": "22.10.1", "CoreMaxLoadAvg": "0.500000", "SystemName": ""}
    dates = {"CoreStartupDate": "2026-11-22", "CoreStartupTime": "00:56:17", "CoreCurrentCalls": "15"}
    (row,) = (
        systems.when(ami("Response:CoreSettings", **settings), ami("Response:CoreStatus", **dates))
        .then(pbx="pbx")
        .values()
    )
    assert (row.ast_version, row.max_load_avg, row.startup_time, row.current_calls) == ("22.10.1", 0.5, "00:56:17", 15)
    assert set(systems.when(Connected("a:1", "Asterisk Call Manager/5.0.4"), pbx="other").then(pbx="other")) == {
        ("other",)
    }


def test_module_show_replaces_all_modules() -> None:
    modules = FoldSpec(MODULES)
    rows = modules.when(module_show(TABLE)).then(pbx="pbx")
    assert {name: row.load for (name,), row in rows.items()} == {
        "acl": "Running",
        "app_dial": "Running",
        "app_blind_transfer": "Running",
        "res_pjsip_outbound_authenticator_digest": "Running",
        "res_odd": "Not Running",
    }
    assert set(modules.when(module_show(TABLE.replace("app_dial.so", "app_queue.so"))).then(pbx="pbx")) - set(rows) == {
        ("app_queue",)
    }
    assert ("app_dial",) not in modules.then(pbx="pbx")


def test_only_replies_to_own_actions_change_modules() -> None:
    modules = FoldSpec(MODULES)
    modules.when(module_show(TABLE))
    assert (
        len(
            modules.when(
                module_show("", ACTION_ID), module_show("a 0 Running core", "ringledger/7/Command/other")
            ).then(pbx="pbx")
        )
        == 5
    )
    refused = ami("Response:Command", Response="Error", ActionID=ACTION_ID, Message="Permission denied")
    assert len(modules.when(refused).then(pbx="pbx")) == 5


def test_modules_follow_load_and_unload_events() -> None:
    modules = FoldSpec(MODULES)
    modules.when(ami("Load", Module="app_amd.so", Status="Success"), ami("Load", Module="no.so", Status="Failure"))
    assert set(modules.then(pbx="pbx")) == {("app_amd",)}
    assert modules.when(ami("Unload", Module="app_amd.so", Status="Failure")).then(pbx="pbx") != {}
    assert modules.when(ami("Unload", Module="app_amd.so", Status="Success")).then(pbx="pbx") == {}


def test_without_command_modules_are_checked_one_by_one() -> None:
    modules = FoldSpec(MODULES)

    def check_reply(module: str, **headers: str) -> bytes:
        return ami("Response:ModuleCheck", ActionID=f"ringledger/7/ModuleCheck/{module}", **headers)

    rows = modules.when(check_reply("app_queue", Version=""), check_reply("app_dial", Version="")).then(pbx="pbx")
    assert {name: row.load for (name,), row in rows.items()} == {"app_queue": "Running", "app_dial": "Running"}
    refused = {"Response": "Error", "Message": "Permission denied"}
    assert len(modules.when(check_reply("app_dial", **refused)).then(pbx="pbx")) == 2
    assert set(
        modules.when(check_reply("app_dial", Response="Error", Message="Module not loaded")).then(pbx="pbx")
    ) == {("app_queue",)}
