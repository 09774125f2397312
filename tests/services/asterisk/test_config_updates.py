"""Plans of updates, carried out by the fake Asterisk of tests/support/config_pbx.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from panoramisk.message import Message

from schemas.configuration import Line, Section
from services.asterisk.ami.blocks import message
from services.asterisk.config.files import HEADERS_PER_MESSAGE, is_same, messages
from services.asterisk.config.response import sections_of
from services.asterisk.config.sections import Inheritance
from services.asterisk.config.updates import Plan, UnwritableError, Update, plan_updates
from tests.support.config_pbx import Category, ConfigFile, Variable

TEMPLATES = ("t", "u")
LINES = st.lists(
    st.builds(Line, st.sampled_from(["x", "y", "type"]), st.sampled_from(["1", "2", "3", "a;b"])), max_size=5
)


@st.composite
def files(draw: st.DrawFn) -> list[Section]:
    """Draw sections that Asterisk can write: no section repeats a line of its templates."""
    sections = [Section(name, tuple(draw(LINES)), template=True) for name in TEMPLATES if draw(st.booleans())]
    template_names = [section.name for section in sections]
    for name in draw(st.lists(st.sampled_from(["a", "b", "c"]), max_size=5)):
        inherits = tuple(draw(st.lists(st.sampled_from(TEMPLATES), max_size=2, unique=True)))
        inherits = tuple(template for template in inherits if template in template_names)
        section = Section(name, (), inherits=inherits)
        inheritance = Inheritance()
        for one in sections:
            inheritance.add(one)
        above = inheritance.lines_above(section)
        sections.append(Section(name, tuple(line for line in draw(LINES) if line not in above), inherits=inherits))
    return sections


def file_of(sections: list[Section], place: str = "") -> ConfigFile:
    return ConfigFile(
        *(
            Category(s.name, s.template, s.inherits, place, [Variable(n.name, n.value, place) for n in s.lines])
            for s in sections
        )
    )


def read_back(file: ConfigFile) -> list[Section]:
    return sections_of(Message(dict(message(file.got("ActionID: 1")))))


def carry_out(file: ConfigFile, plan: Plan) -> list[Section]:
    for headers in messages(plan.updates):
        file.update({"Action": "UpdateConfig", **headers})
    return read_back(file)


@given(files())
def test_sections_are_read_from_asterisks_reply(sections: list[Section]) -> None:
    assert read_back(file_of(sections)) == sections


@given(files(), files())
def test_a_plan_leads_to_the_target(present: list[Section], target: list[Section]) -> None:
    plan = plan_updates(present, target)
    now = carry_out(file_of(present), plan)
    assert is_same(now, target)
    assert plan_updates(now, target).updates == ()


def test_equal_sections_need_no_update() -> None:
    present = [Section("a", (Line("x", "1"),)), Section("b", (Line("y", "1"), Line("y", "2")))]
    plan = plan_updates(present, [*present, Section("c", (Line("exten", "1,1,Hangup()"),))])
    assert plan == Plan((Update("NewCat", "c"), Update("Append", "c", "exten", "> 1,1,Hangup()")))


def test_values_change_in_place_and_lines_are_deleted() -> None:
    present = [Section("a", (Line("x", "1"), Line("y", "2"), Line("z", "3")))]
    plan = plan_updates(present, [Section("a", (Line("x", "5"), Line("z", "3")))])
    assert plan == Plan((Update("Update", "a", "x", "5", "1"), Update("Delete", "a", "y", match="2")))


def test_a_section_with_equal_lines_is_rewritten() -> None:
    present = [Section("a", (Line("same", "n,Wait(1)"), Line("same", "n,Wait(1)")))]
    plan = plan_updates(present, [Section("a", (Line("same", "n,Wait(1)"), Line("same", "n,Wait(2)")))])
    assert plan.rewritten == ("a",)
    assert [update.action for update in plan.updates] == ["EmptyCat", "Append", "Append"]


def test_sections_of_an_included_file_stay_there() -> None:
    file = file_of([Section("main", (Line("x", "1"),))])
    file.categories += file_of(
        [Section("a", (Line("type", "auth"), Line("password", "p"))), Section("a")], "more"
    ).categories
    present = read_back(file)
    target = [present[0], Section("a", (Line("type", "auth"), Line("password", "q"))), Section("a")]
    assert carry_out(file, plan_updates(present, target)) == target
    assert [(c.place, [v.place for v in c.lines]) for c in file.categories] == [
        ("", [""]),
        ("more", 2 * ["more"]),
        ("more", []),
    ]


def test_an_inherited_template_cannot_be_deleted() -> None:
    present = [Section("t", (Line("x", "1"),), template=True), Section("a", (), inherits=("t",))]
    with pytest.raises(UnwritableError, match=r"\[t\] is inherited by a section that stays"):
        plan_updates(present, [Section("a", (), inherits=("t",))])
    deletion = plan_updates(present, [])
    assert [update.cat for update in deletion.updates] == ["a", "t"]


def test_a_section_may_inherit_several_templates() -> None:
    plan = plan_updates(
        [], [Section("t", template=True), Section("u", template=True), Section("a", (), inherits=("t", "u"))]
    )
    assert [update.options for update in plan.updates] == ["template", "template", 'inherit="t,u"']
    assert carry_out(ConfigFile(), plan)[2].inherits == ("t", "u")


def test_messages_respect_asterisks_limit_of_headers() -> None:
    plan = plan_updates([], [Section("a", tuple(Line("exten", f"{n},1,Hangup()") for n in range(100)))])
    parts = messages(plan.updates)
    assert max(map(len, parts)) <= HEADERS_PER_MESSAGE
    assert sum(name.startswith("Action-") for part in parts for name in part) == 101
    assert [part["Action-000000"] for part in parts] == ["NewCat", *(["Append"] * (len(parts) - 1))]
