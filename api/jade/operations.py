"""Every operation of jade, in the order of seed 001. `act` marks those that a repeated request does not do again.

These are not documented: tokens for the families /manager and /me, calls, and writes to queue members and entries.
"""

from functools import partial

from api.http.operation import Operation
from api.jade import (
    contacts,
    core,
    dialplans,
    info,
    legacy,
    login,
    modules,
    park,
    permissions,
    pjsip,
    pjsip_endpoints,
    queue,
    queue_members,
    users,
)
from api.jade.config import files, sections, trunks
from api.jade.me import buddies, calls, chats, messages
from api.jade.resource import Resource
from api.jade.routes import LOGINS, act, delete, get, live, post, put
from schemas.configuration import PARKING


def logins(family: str) -> list[Operation]:
    """Return the operations on tokens. A login is public: its handler verifies name and password."""
    paths, permission = (f"/v1/{family}/login", f"/{family}/login"), LOGINS[family]
    return [
        Operation(f"jade.{family}.login.create", "POST", paths, login.create(permission), ""),
        Operation(f"jade.{family}.login.delete", "DELETE", paths, login.delete, permission),
    ]


def oldest(family: str, listed: Resource, one: Resource, *, open_views: bool) -> list[Operation]:
    """Return the operations of a family without /admin: ``/agents`` is the list, ``/agents/`` the detail."""
    return [
        Operation(f"jade.{family}.{what}", "GET", (path,), view, permission)
        for what, end, view in (("list", "", listed.all), ("get", "/", one.one))
        for path, permission in (
            (f"/{family}{end}", "" if open_views else "supervisor"),
            (f"/v1/{family}{end}", "supervisor"),
        )
    ]


def file_versions(family: str, file: str) -> list[Operation]:
    """Return the operations on one configuration file."""
    name, path, resource = (
        f"{family}.configurations",
        f"/admin/{family}/configurations",
        files.resource_of(family, file),
    )
    return [
        get(f"{name}.list", path, resource.all),
        get(f"{name}.get", f"{path}/{{detail}}", resource.one),
        act(f"{name}.update", "PUT", f"{path}/{{detail}}", partial(files.update, file=file)),
        delete(f"{name}.delete", f"{path}/{{detail}}", partial(files.delete, file=file)),
    ]


def file_sections(kind: sections.SectionKind, *, create: bool = True) -> list[Operation]:
    """Return the operations on sections of one kind; ``create`` is whether there is a POST."""
    listed, one = sections.views(kind)
    name = kind.path.removeprefix("/admin/").strip("/").replace("/", ".")
    return [
        get(f"{name}.list", kind.path, listed),
        *([post(f"{name}.create", kind.path, sections.post_handler(kind))] if create else []),
        get(f"{name}.get", f"{kind.path}/{{detail}}", one),
        put(f"{name}.update", f"{kind.path}/{{detail}}", sections.put_handler(kind)),
        delete(f"{name}.delete", f"{kind.path}/{{detail}}", sections.delete_handler(kind.file)),
    ]


def operations(*, open_views: bool) -> tuple[Operation, ...]:
    """Return the table."""
    return (
        *oldest("agents", legacy.AGENTS, legacy.AGENT, open_views=open_views),
        *oldest("device_states", legacy.DEVICES, legacy.DEVICE, open_views=open_views),
        *oldest("peers", legacy.PEERS, legacy.PEER, open_views=open_views),
        *oldest("registries", legacy.REGISTRIES, legacy.REGISTRY, open_views=open_views),
        live("core.channels.list", "/admin/core/channels", core.CHANNELS.all),
        live("core.channels.get", "/admin/core/channels/{detail}", core.CHANNELS.one),
        act("core.channels.hangup", "DELETE", "/admin/core/channels/{detail}", core.hang_up_channel),
        live("core.modules.list", "/admin/core/modules", modules.MODULES.all),
        live("core.modules.get", "/admin/core/modules/{detail}", modules.MODULES.one),
        post("core.modules.load", "/admin/core/modules/{detail}", modules.load),
        act("core.modules.reload", "PUT", "/admin/core/modules/{detail}", modules.reload),
        act("core.modules.unload", "DELETE", "/admin/core/modules/{detail}", modules.unload),
        live("core.systems.list", "/admin/core/systems", core.SYSTEMS.all),
        live("core.systems.get", "/admin/core/systems/{detail}", core.SYSTEMS.one),
        get("dialplan.adps.list", "/admin/dialplan/adps", dialplans.ADPS.all),
        post("dialplan.adps.create", "/admin/dialplan/adps", dialplans.post_command),
        get("dialplan.adps.get", "/admin/dialplan/adps/{detail}", dialplans.ADPS.one),
        put("dialplan.adps.update", "/admin/dialplan/adps/{detail}", dialplans.put_command),
        delete("dialplan.adps.delete", "/admin/dialplan/adps/{detail}", dialplans.remove_command),
        get("dialplan.adpmas.list", "/admin/dialplan/adpmas", dialplans.ADPMAS.all),
        post("dialplan.adpmas.create", "/admin/dialplan/adpmas", dialplans.post_master),
        get("dialplan.adpmas.get", "/admin/dialplan/adpmas/{detail}", dialplans.ADPMAS.one),
        put("dialplan.adpmas.update", "/admin/dialplan/adpmas/{detail}", dialplans.put_master),
        delete("dialplan.adpmas.delete", "/admin/dialplan/adpmas/{detail}", dialplans.remove_master),
        *(row for family, file in files.FAMILIES.items() for row in file_versions(family, file)),
        *file_sections(sections.SDPS, create=False),
        get("admin.info.get", "/admin/info", info.INFO.one),
        put("admin.info.update", "/admin/info", info.update),
        *logins("admin"),
        *file_sections(sections.CFG_PARKINGLOTS),
        live("park.parkedcalls.list", "/admin/park/parkedcalls", park.PARKED_CALLS.all),
        live(
            *("park.parkedcalls.get", "/admin/park/parkedcalls/{detail}", park.PARKED_CALLS.one),
            "/park/parkedcalls/{detail}",
        ),
        act("park.parkedcalls.hangup", "DELETE", "/admin/park/parkedcalls/{detail}", park.hang_up_parked_call),
        live("park.parkinglots.list", "/admin/park/parkinglots", park.PARKING_LOTS.all),
        live("park.parkinglots.get", "/admin/park/parkinglots/{detail}", park.PARKING_LOTS.one),
        put("park.parkinglots.update", "/admin/park/parkinglots/{detail}", sections.change_lot),
        delete("park.parkinglots.delete", "/admin/park/parkinglots/{detail}", sections.delete_handler(PARKING)),
        live("pjsip.aors.list", "/admin/pjsip/aors", pjsip.AORS.all),
        live("pjsip.aors.get", "/admin/pjsip/aors/{detail}", pjsip.AORS.one),
        live("pjsip.auths.list", "/admin/pjsip/auths", pjsip.AUTHS.all, "/admin/pjsip/auth"),
        live("pjsip.auths.get", "/admin/pjsip/auths/{detail}", pjsip.AUTHS.one, "/admin/pjsip/auth/{detail}"),
        live("pjsip.contacts.list", "/admin/pjsip/contacts", pjsip.CONTACTS.all),
        live("pjsip.contacts.get", "/admin/pjsip/contacts/{detail}", pjsip.CONTACTS.one, "/pjsip/contacts/{detail}"),
        live("pjsip.endpoints.list", "/admin/pjsip/endpoints", pjsip_endpoints.ENDPOINTS.all),
        live("pjsip.endpoints.get", "/admin/pjsip/endpoints/{detail}", pjsip_endpoints.ENDPOINTS.one),
        live("pjsip.registration_outbounds.list", "/admin/pjsip/registration_outbounds", pjsip.REGISTRATIONS.all),
        live(
            "pjsip.registration_outbounds.get",
            "/admin/pjsip/registration_outbounds/{detail}",
            pjsip.REGISTRATIONS.one,
        ),
        *file_sections(sections.CFG_QUEUES),
        live("queue.entries.list", "/admin/queue/entries", queue.ENTRIES.all),
        live("queue.entries.get", "/admin/queue/entries/{detail}", queue.ENTRIES.one),
        act("queue.entries.hangup", "DELETE", "/admin/queue/entries/{detail}", queue.hang_up_entry),
        live("queue.members.list", "/admin/queue/members", queue_members.MEMBERS.all),
        post("queue.members.create", "/admin/queue/members", queue_members.add),
        live("queue.members.get", "/admin/queue/members/{detail}", queue_members.MEMBERS.one),
        act("queue.members.update", "PUT", "/admin/queue/members/{detail}", queue_members.change),
        act("queue.members.delete", "DELETE", "/admin/queue/members/{detail}", queue_members.remove),
        live("queue.queues.list", "/admin/queue/queues", queue.QUEUES.all),
        live("queue.queues.get", "/admin/queue/queues/{detail}", queue.QUEUES.one),
        get("user.users.list", "/admin/user/users", users.USERS.all),
        post("user.users.create", "/admin/user/users", users.create),
        get("user.users.get", "/admin/user/users/{detail}", users.USERS.one),
        put("user.users.update", "/admin/user/users/{detail}", users.update),
        delete("user.users.delete", "/admin/user/users/{detail}", users.delete),
        get("user.contacts.list", "/admin/user/contacts", contacts.CONTACTS.all),
        post("user.contacts.create", "/admin/user/contacts", contacts.create),
        get("user.contacts.get", "/admin/user/contacts/{detail}", contacts.CONTACTS.one),
        put("user.contacts.update", "/admin/user/contacts/{detail}", contacts.update),
        delete("user.contacts.delete", "/admin/user/contacts/{detail}", contacts.delete),
        get("user.permissions.list", "/admin/user/permissions", permissions.GRANTS.all),
        post("user.permissions.create", "/admin/user/permissions", permissions.create),
        get("user.permissions.get", "/admin/user/permissions/{detail}", permissions.GRANTS.one),
        put("user.permissions.update", "/admin/user/permissions/{detail}", permissions.update),
        delete("user.permissions.delete", "/admin/user/permissions/{detail}", permissions.delete),
        *logins("manager"),
        *file_sections(sections.SDIALPLANS),
        get("manager.trunks.list", "/manager/trunks", trunks.LIST),
        post("manager.trunks.create", "/manager/trunks", trunks.create),
        get("manager.trunks.get", "/manager/trunks/{detail}", trunks.ONE),
        put("manager.trunks.update", "/manager/trunks/{detail}", trunks.update),
        delete("manager.trunks.delete", "/manager/trunks/{detail}", trunks.delete),
        get("manager.users.list", "/manager/users", users.MANAGED.all),
        post("manager.users.create", "/manager/users", users.create),
        get("manager.users.get", "/manager/users/{detail}", users.MANAGED.one),
        put("manager.users.update", "/manager/users/{detail}", users.update),
        delete("manager.users.delete", "/manager/users/{detail}", users.delete),
        *logins("me"),
        get("me.buddies.list", "/me/buddies", buddies.LIST),
        post("me.buddies.create", "/me/buddies", buddies.create),
        act("me.calls.create", "POST", "/me/calls", calls.create),
        get("me.contacts.list", "/me/contacts", contacts.OWN.all),
        get("me.chats.list", "/me/chats", chats.LIST),
        post("me.chats.create", "/me/chats", chats.create),
        get("me.chats.get", "/me/chats/{detail}", chats.ONE),
        put("me.chats.update", "/me/chats/{detail}", chats.update),
        delete("me.chats.delete", "/me/chats/{detail}", chats.delete),
        get("me.chats.messages.list", "/me/chats/{detail}/messages", messages.LIST),
        post("me.chats.messages.create", "/me/chats/{detail}/messages", messages.create),
        get("me.info.get", "/me/info", info.me),
    )
