"""Configuration files of the fake PBX: read and written as AMI does it (main/manager.c of Asterisk 22), and listed."""

import copy
import re
from collections.abc import Iterator

from msgspec import Struct, field

from tests.support.fake_ami import block

Headers = dict[str, str]


class Category(Struct):
    """``[name](!,inherits)`` and its own lines."""

    name: str
    lines: list[tuple[str, str]] = field(default_factory=list)
    template: bool = False
    inherits: list[str] = field(default_factory=list)

    def value(self, option: str, default: str = "") -> str:
        return next((value for name, value in reversed(self.lines) if name == option), default)


def started() -> dict[str, list[Category]]:
    """Return the files as they are before any test."""
    return {
        "extensions.conf": [
            Category("general", [("static", "yes")]),
            Category("lab", [("exten", "talk,1,Answer()"), ("same", "n,Hangup()")]),
        ],
        "res_parking.conf": [
            Category("general"),
            Category("default", [("context", "parkedcalls"), ("parkpos", "701-720")]),
            Category("vip", [("context", "viplot"), ("parkpos", "751-760")]),
        ],
        "pjsip.conf": [
            Category("phone", [("max_contacts", "1")], template=True),
            Category("101", [("type", "aor")], inherits=["phone"]),
            Category("101", [("type", "auth"), ("username", "101"), ("password", "pw-of-101-in-the-file")]),
            Category("101", [("type", "endpoint"), ("aors", "101"), ("auth", "101")]),
        ],
        "queues.conf": [Category("general"), Category("sales", [("strategy", "ringall")])],
    }


class RefusalError(Exception):
    """Asterisk's words."""


class Files:
    """The files, and what actions do with them."""

    def __init__(self) -> None:
        self.files = started()
        self.replies = {
            "GetConfig": self._get,
            "UpdateConfig": self._update,
            "CreateConfig": self._create,
            "ShowDialPlan": self._contexts,
            "QueueStatus": self._queues,
            "Parkinglots": self._lots,
            **dict.fromkeys(OBJECTS, self._objects),
        }

    def lots(self) -> list[Headers]:
        """Return the parking lots as events list them."""
        items = []
        for lot in self.files["res_parking.conf"]:
            if lot.name != "general":
                start, _, stop = lot.value("parkpos", "701-720").removeprefix("> ").partition("-")
                timeout = lot.value("parkingtime", "45")
                items.append({"Name": lot.name, "StartSpace": start, "StopSpace": stop, "Timeout": timeout})
        return items

    def _get(self, headers: Headers) -> bytes:
        number = f"ActionID: {headers['ActionID']}"
        if headers["Filename"] not in self.files:
            return block("Response: Error", number, "Message: Config file not found")
        response = ["Response: Success", number]
        with_templates = "TEMPLATES=include" in headers.get("Filter", "")
        categories = self.files[headers["Filename"]]
        for place, category in enumerate(c for c in categories if with_templates or not c.template):
            response.append(f"Category-{place:06d}: {category.name}")
            if category.template:
                response.append(f"IsTemplate-{place:06d}: 1")
            if category.inherits:
                response.append(f"Templates-{place:06d}: {','.join(category.inherits)}")
            above = [line for other in categories if other.name in category.inherits for line in other.lines]
            for row, (name, value) in enumerate([*above, *category.lines]):
                response.append(f"Line-{place:06d}-{row:06d}: {name}={value}")
        return block(*response)

    def _create(self, headers: Headers) -> bytes:
        self.files[headers["Filename"]] = []
        return block("Response: Success", f"ActionID: {headers['ActionID']}", "Message: New configuration file created")

    def _update(self, headers: Headers) -> bytes:
        number = f"ActionID: {headers['ActionID']}"
        made = copy.deepcopy(self.files[headers["SrcFilename"]])
        try:
            for update in updates(headers):
                apply(made, update)
        except RefusalError as refusal:
            return block("Response: Error", number, f"Message: {refusal}")
        self.files[headers["DstFilename"]] = made
        return block("Response: Success", number)

    def _contexts(self, headers: Headers) -> bytes:
        items: list[Headers] = []
        for category in self.files["extensions.conf"]:
            if category.name == headers.get("Context"):
                lines = [value for name, value in category.lines if name in {"exten", "same"}]
                items += [{"Context": category.name, "Priority": "1", "Registrar": "pbx_config"} for _ in lines]
        return listed(headers, "ListDialplan", "ShowDialPlanComplete", items)

    def _queues(self, headers: Headers) -> bytes:
        names = [c.name for c in self.files["queues.conf"] if c.name != "general"]
        items = [{"Queue": name} for name in names if headers.get("Queue") in {None, name}]
        return listed(headers, "QueueParams", "QueueStatusComplete", items)

    def _lots(self, headers: Headers) -> bytes:
        return listed(headers, "Parkinglot", "ParkinglotsComplete", self.lots())

    def _objects(self, headers: Headers) -> bytes:
        kind, event, end = OBJECTS[headers["Action"]]
        items = [c.name for c in self.files["pjsip.conf"] if not c.template and c.value("type") == kind]
        return listed(headers, event, end, [{"ObjectType": kind, "ObjectName": name} for name in items])


OBJECTS = {
    "PJSIPShowEndpoints": ("endpoint", "EndpointList", "EndpointListComplete"),
    "PJSIPShowAors": ("aor", "AorList", "AorListComplete"),
    "PJSIPShowAuths": ("auth", "AuthList", "AuthListComplete"),
    "PJSIPShowRegistrationsOutbound": (
        "registration",
        "OutboundRegistrationDetail",
        "OutboundRegistrationDetailComplete",
    ),
}


def listed(headers: Headers, event: str, end: str, items: list[Headers]) -> bytes:
    """Return a list as AMI sends it."""
    number = f"ActionID: {headers['ActionID']}"
    response = block("Response: Success", number, "EventList: start", "Message: A listing will follow")
    for item in items:
        response += block(f"Event: {event}", number, *(f"{name}: {value}" for name, value in item.items()))
    return response + block(f"Event: {end}", number, "EventList: Complete", f"ListItems: {len(items)}")


def updates(headers: Headers) -> Iterator[Headers]:
    """Return the updates in one action, each with its headers by name."""
    items: dict[str, Headers] = {}
    for header, value in headers.items():
        if match := re.fullmatch(r"([A-Za-z]+)-(\d{6})", header):
            items.setdefault(match[2], {})[match[1]] = value
    yield from (items[number] for number in sorted(items))


def apply(categories: list[Category], update: Headers) -> None:
    """Do one update. Raises RefusalError."""
    name, option = update.get("Cat", ""), update.get("Var", "")
    there = [c for c in categories if c.name == name and (not c.template or "TEMPLATES" in update.get("Options", ""))]
    if update["Action"] == "NewCat":
        options = update.get("Options", "").split(",")
        if there and "allowdups" not in options:
            raise RefusalError("Create category did not complete successfully")
        inherits = [o.removeprefix("inherit=") for o in options if o.startswith("inherit=")]
        categories.append(Category(name, [], "template" in options, inherits))
        return
    if not there:
        raise RefusalError("Given category does not exist")
    match update["Action"]:
        case "DelCat":
            categories[:] = [c for c in categories if c not in there]
        case "EmptyCat":
            there[0].lines.clear()
        case "RenameCat":
            there[0].name = update["Value"]
        case "Append":
            there[0].lines.append((option, update.get("Value", "").removeprefix("> ")))
        case "Update" | "Delete":
            _one_line(there, update)
        case other:
            raise RefusalError(f"Unknown action command {other}")


def _one_line(there: list[Category], update: Headers) -> None:
    for category in there:
        for place, (name, value) in enumerate(category.lines):
            if name == update["Var"] and update.get("Match", value) == value:
                new = [(name, update.get("Value", "").removeprefix("> "))] if update["Action"] == "Update" else []
                category.lines[place : place + 1] = new
                return
    raise RefusalError(f"{update['Action']} did not complete successfully")
