"""The plan of updates, carried out by what tests/support/config_pbx.py knows of Asterisk."""

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
    """Sections that Asterisk can hold and write: what a template says is not said again."""
    made = [Section(name, tuple(draw(LINES)), template=True) for name in TEMPLATES if draw(st.booleans())]
    known = [section.name for section in made]
    for name in draw(st.lists(st.sampled_from(["a", "b", "c"]), max_size=5)):
        inherits = tuple(draw(st.lists(st.sampled_from(TEMPLATES), max_size=2, unique=True)))
        inherits = tuple(template for template in inherits if template in known)
        section = Section(name, (), inherits=inherits)
        inheritance = Inheritance()
        for one in made:
            inheritance.add(one)
        above = inheritance.lines_above(section)
        made.append(Section(name, tuple(line for line in draw(LINES) if line not in above), inherits=inherits))
    return made


def file_of(sections: list[Section], place: str = "") -> ConfigFile:
    return ConfigFile(
        *(
            Category(s.name, s.template, s.inherits, place, [Variable(n.name, n.value, place) for n in s.lines])
            for s in sections
        )
    )


def got(file: ConfigFile) -> list[Section]:
    return sections_of(Message(dict(message(file.got("ActionID: 1")))))


def carried_out(file: ConfigFile, made: Plan) -> list[Section]:
    for headers in messages(made.updates):
        file.update({"Action": "UpdateConfig", **headers})
    return got(file)


@given(files())
def test_what_asterisk_tells_is_read(sections: list[Section]) -> None:
    assert got(file_of(sections)) == sections


@given(files(), files())
def test_the_plan_makes_what_is_wanted(present: list[Section], wanted: list[Section]) -> None:
    made = plan_updates(present, wanted)
    now = carried_out(file_of(present), made)
    assert is_same(now, wanted)
    assert plan_updates(now, wanted).updates == ()


def test_what_is_the_same_is_left_alone() -> None:
    present = [Section("a", (Line("x", "1"),)), Section("b", (Line("y", "1"), Line("y", "2")))]
    made = plan_updates(present, [*present, Section("c", (Line("exten", "1,1,Hangup()"),))])
    assert made == Plan((Update("NewCat", "c"), Update("Append", "c", "exten", "> 1,1,Hangup()")))


def test_a_value_is_changed_in_place_and_a_line_deleted() -> None:
    present = [Section("a", (Line("x", "1"), Line("y", "2"), Line("z", "3")))]
    made = plan_updates(present, [Section("a", (Line("x", "5"), Line("z", "3")))])
    assert made == Plan((Update("Update", "a", "x", "5", "1"), Update("Delete", "a", "y", match="2")))


def test_lines_that_are_alike_are_written_anew() -> None:
    present = [Section("a", (Line("same", "n,Wait(1)"), Line("same", "n,Wait(1)")))]
    made = plan_updates(present, [Section("a", (Line("same", "n,Wait(1)"), Line("same", "n,Wait(2)")))])
    assert made.rewritten == ("a",)
    assert [update.action for update in made.updates] == ["EmptyCat", "Append", "Append"]


def test_sections_of_an_included_file_stay_there() -> None:
    file = file_of([Section("main", (Line("x", "1"),))])
    file.categories += file_of(
        [Section("a", (Line("type", "auth"), Line("password", "p"))), Section("a")], "more"
    ).categories
    present = got(file)
    wanted = [present[0], Section("a", (Line("type", "auth"), Line("password", "q"))), Section("a")]
    assert carried_out(file, plan_updates(present, wanted)) == wanted
    assert [(c.place, [v.place for v in c.lines]) for c in file.categories] == [
        ("", [""]),
        ("more", 2 * ["more"]),
        ("more", []),
    ]


def test_a_template_is_not_taken_from_its_heirs() -> None:
    present = [Section("t", (Line("x", "1"),), template=True), Section("a", (), inherits=("t",))]
    with pytest.raises(UnwritableError, match=r"\[t\] is inherited by a section that stays"):
        plan_updates(present, [Section("a", (), inherits=("t",))])
    removed = plan_updates(present, [])
    assert [update.cat for update in removed.updates] == ["a", "t"]


def test_several_templates() -> None:
    made = plan_updates(
        [], [Section("t", template=True), Section("u", template=True), Section("a", (), inherits=("t", "u"))]
    )
    assert [update.options for update in made.updates] == ["template", "template", 'inherit="t,u"']
    assert carried_out(ConfigFile(), made)[2].inherits == ("t", "u")


def test_messages_have_as_many_headers_as_asterisk_takes() -> None:
    made = plan_updates([], [Section("a", tuple(Line("exten", f"{n},1,Hangup()") for n in range(100)))])
    parts = messages(made.updates)
    assert max(map(len, parts)) <= HEADERS_PER_MESSAGE
    assert sum(name.startswith("Action-") for part in parts for name in part) == 101
    assert [part["Action-000000"] for part in parts] == ["NewCat", *(["Append"] * (len(parts) - 1))]
