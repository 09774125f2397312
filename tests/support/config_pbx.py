"""Asterisk's own handling of configuration files (main/config.c, main/manager.c), for tests that need no Asterisk.

Verified against Asterisk 16.28 and 22.10 by tests/e2e/test_config.py, which does the same with the real one.
"""

import csv
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.support.fake_ami import FakeAmi, block

MOST_HEADERS = 128
UNKNOWN = "no_such_option"
"""A section with a line of this name is not loaded: a present one stays as it was."""


@dataclass
class Variable:
    """One line; ``place`` is the file that it came from, "" for the main one."""

    name: str
    value: str
    place: str = ""
    inherited: bool = False


@dataclass
class Category:
    name: str
    template: bool = False
    inherits: tuple[str, ...] = ()
    place: str = ""
    lines: list[Variable] = field(default_factory=list)


class RefusedUpdateError(Exception):
    """The message of Asterisk's error response."""


class ConfigFile:
    """One file with its includes; ``categories`` hold the lines of the text, without inherited ones."""

    def __init__(self, *categories: Category) -> None:
        self.categories = list(categories)
        self.breaks = False

    def loaded(self) -> list[Category]:
        """Return what Asterisk has in memory: templates' lines first."""
        matches: list[Category] = []
        for category in self.categories:
            above = [
                Variable(line.name, line.value, line.place, inherited=True)
                for template in category.inherits
                for line in next(c for c in matches if c.name.lower() == template.lower()).lines
            ]
            own = [Variable(line.name, line.value, line.place) for line in category.lines]
            matches.append(
                Category(category.name, category.template, category.inherits, category.place, [*above, *own])
            )
        return matches

    def got(self, number: str) -> bytes:
        """Return the response to GetConfig with the filter TEMPLATES=include."""
        lines = ["Response: Success", number]
        for place, category in enumerate(self.loaded()):
            lines.append(f"Category-{place:06d}: {category.name}")
            if category.template:
                lines.append(f"IsTemplate-{place:06d}: 1")
            if category.inherits:
                lines.append(f"Templates-{place:06d}: {','.join(category.inherits)}")
            lines += [f"Line-{place:06d}-{n:06d}: {v.name}={v.value}" for n, v in enumerate(category.lines)]
        return block(*lines)

    def update(self, headers: dict[str, str]) -> None:
        """Do what UpdateConfig does. Raises RefusedUpdateError, and nothing is written then."""
        assert len(headers) <= MOST_HEADERS, "Asterisk passes over the headers after the 128th"
        categories = self.loaded()
        for number in range(MOST_HEADERS):
            action = headers.get(f"Action-{number:06d}")
            if action is None:
                break
            one = {
                name: headers.get(f"{name}-{number:06d}", "") for name in ("Cat", "Var", "Value", "Match", "Options")
            }
            self._act(categories, action.lower(), one)
        self.categories = written(categories)

    def save_as(self) -> list[Category]:
        """Return the categories that UpdateConfig without actions writes into another file.

        It writes the included files of this one too, so these lose the lines that belong to sections of other files.
        """
        saved = written(self.loaded())
        for category, copy in zip(self.categories, saved, strict=True):
            if category.place:
                category.lines = [*copy.lines, *(line for line in category.lines if not line.place)]
            else:
                category.lines = [line for line in category.lines if not line.place]
        return saved

    def _act(self, categories: list[Category], action: str, one: dict[str, str]) -> None:
        templates = one["Options"] == 'catfilter="TEMPLATES=include"'
        value = one["Value"].removeprefix(">").strip()
        if action == "newcat":
            self._new(categories, one)
            return
        matches = [c for c in categories if c.name.lower() == one["Cat"].lower() and (templates or not c.template)]
        if not matches:
            raise RefusedUpdateError("Given category does not exist")
        hit = False
        for category in matches:
            if action == "delcat":
                heirs = [c.name for c in categories if one["Cat"].lower() in map(str.lower, c.inherits)]
                assert not heirs, "Asterisk would read a template that is gone"
                categories.remove(category)
                hit = True
            elif action == "emptycat":
                category.lines.clear()
                hit = True
            elif action == "append":
                category.lines.append(Variable(one["Var"], value))
                hit = True
            elif action == "renamecat":
                category.name = value
                hit = True
            else:
                hit = self._line(category, action, one, value) or hit
        if not hit:
            raise RefusedUpdateError("Update did not complete successfully")

    def _new(self, categories: list[Category], one: dict[str, str]) -> None:
        options = next(csv.reader([re.sub('([a-z]+=)"(.*?)"', r'"\1\2"', one["Options"])]), [])
        if "allowdups" not in options and any(c.name.lower() == one["Cat"].lower() for c in categories):
            raise RefusedUpdateError("Create category did not complete successfully")
        inherits = next((option[8:].split(",") for option in options if option.startswith("inherit=")), [])
        new = Category(one["Cat"], "template" in options, tuple(inherits))
        for name in inherits:
            template = next((c for c in categories if c.name.lower() == name.lower() and c.template), None)
            if template is None:
                raise RefusedUpdateError("Template category not found")
            new.lines += [Variable(v.name, v.value, v.place, inherited=True) for v in template.lines]
        before = next((n for n, c in enumerate(categories) if c.name.lower() == one["Match"].lower()), len(categories))
        categories.insert(before, new)

    def _line(self, category: Category, action: str, one: dict[str, str], value: str) -> bool:
        alike = [
            line
            for line in category.lines
            if line.name.lower() == one["Var"].lower() and one["Match"].lower() in {"", line.value.lower()}
        ]
        if action == "delete":
            category.lines = [line for line in category.lines if not any(line is other for other in alike)]
        elif action == "update" and alike:
            alike[0].value = value
            alike[0].inherited = False
        return bool(alike)


def written(categories: Sequence[Category]) -> list[Category]:
    """Return what Asterisk reads after it has written these categories."""
    saved: list[Category] = []
    for category in categories:
        above = [v for c in categories if c.name.lower() in map(str.lower, category.inherits) for v in c.lines]
        texts = {(v.name.lower(), v.value) for v in above}
        own = [v for v in category.lines if not v.inherited and (v.name.lower(), v.value) not in texts]
        saved.append(Category(category.name, category.template, category.inherits, category.place, []))
        for line in own:
            # It goes to the end of what has been written into its file.
            home = next(c for c in reversed(saved) if c.place == line.place)
            home.lines.append(line)
    return saved


class ConfigPbx:
    """A PBX with configuration files, which it applies when it is sent a reload.

    ``refuses`` are names that it never takes; ``takes`` are the categories that it has, by file.
    """

    def __init__(self, **files: ConfigFile) -> None:
        self.files = {f"{name}.conf": file for name, file in files.items()}
        self.refuses: set[str] = set()
        self.takes: dict[str, list[Category]] = defaultdict(list)
        self.takes |= {name: [c for c in file.loaded() if not c.template] for name, file in self.files.items()}
        self.reloads: list[str] = []

    def attach(self, ami: FakeAmi) -> None:
        ami.replies |= {
            "GetConfig": self._get,
            "UpdateConfig": self._update,
            "CreateConfig": self._create,
            "Reload": self._reload,
            "QueueStatus": self._queue,
            "Parkinglots": self._lots,
            "ShowDialPlan": self._dialplan,
            "PJSIPShowEndpoints": lambda headers: self._objects(headers, "endpoint"),
            "PJSIPShowAors": lambda headers: self._objects(headers, "aor"),
            "PJSIPShowAuths": lambda headers: self._objects(headers, "auth"),
            "PJSIPShowRegistrationsOutbound": lambda headers: self._objects(headers, "registration"),
        }

    def _get(self, headers: dict[str, str]) -> bytes:
        number = f"ActionID: {headers['ActionID']}"
        assert headers["Filter"] == "TEMPLATES=include"
        if headers["Filename"] not in self.files:
            return block("Response: Error", number, "Message: Config file not found")
        return self.files[headers["Filename"]].got(number)

    def _update(self, headers: dict[str, str]) -> bytes:
        number = f"ActionID: {headers['ActionID']}"
        file, target = (self.files[headers[name]] for name in ("SrcFilename", "DstFilename"))
        if target.breaks:
            return block("Response: Error", number, "Message: Save of config failed")
        if file is not target:
            assert "Action-000000" not in headers, "the product changes no line while it copies a file"
            target.categories = file.save_as()
            return block("Response: Success", number)
        try:
            file.update(headers)
        except RefusedUpdateError as error:
            return block("Response: Error", number, f"Message: {error}")
        return block("Response: Success", number)

    def _create(self, headers: dict[str, str]) -> bytes:
        self.files[headers["Filename"]] = ConfigFile()
        return block("Response: Success", f"ActionID: {headers['ActionID']}")

    def _reload(self, headers: dict[str, str]) -> bytes:
        self.reloads.append(headers["Module"])
        for name, file in self.files.items():
            fit = [c for c in file.loaded() if not c.template and not any(v.name == UNKNOWN for v in c.lines)]
            unchanged = [c for c in self.takes[name] if c.name in {c.name for c in file.loaded()}] if fit else []
            names = {c.name for c in fit}
            self.takes[name] = [c for c in fit if c.name not in self.refuses]
            self.takes[name] += [c for c in unchanged if c.name not in names]
        return block("Response: Success", f"ActionID: {headers['ActionID']}", "Message: Module Reloaded")

    def _listed(self, headers: dict[str, str], event: str, items: Sequence[tuple[str, ...]]) -> bytes:
        number = f"ActionID: {headers['ActionID']}"
        answer = block("Response: Success", number, "EventList: start", "Message: A list will follow")
        for item in items:
            answer += block(f"Event: {event}", number, *item)
        return answer + block(f"Event: {event}Complete", number, "EventList: Complete")

    def _queue(self, headers: dict[str, str]) -> bytes:
        names = [c.name for c in self.takes["queues.conf"] if c.name == headers["Queue"]]
        return self._listed(headers, "QueueParams", [(f"Queue: {name}",) for name in names])

    def _lots(self, headers: dict[str, str]) -> bytes:
        return self._listed(headers, "Parkinglot", [(f"Name: {c.name}",) for c in self.takes["res_parking.conf"]])

    def _dialplan(self, headers: dict[str, str]) -> bytes:
        lines = [
            (f"Context: {c.name}", f"Priority: {n}", "Registrar: pbx_config")
            for c in self.takes["extensions.conf"]
            if c.name == headers["Context"]
            for n, line in enumerate(c.lines, 1)
            if line.name in {"exten", "same"}
        ]
        return self._listed(headers, "ListDialplan", lines)

    def _objects(self, headers: dict[str, str], kind: str) -> bytes:
        there = [
            c.name for c in self.takes["pjsip.conf"] if ("type", kind) in {(line.name, line.value) for line in c.lines}
        ]
        return self._listed(headers, f"{kind}List", [(f"ObjectName: {name}",) for name in there])
