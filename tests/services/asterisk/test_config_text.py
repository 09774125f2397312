"""Text of configuration files: parsed as Asterisk does, rendered, checked; secrets replaced by tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.configuration import DIALPLAN, PJSIP, Line, Section
from schemas.secrets import MASK, is_secret
from services.asterisk.config.checks import check
from services.asterisk.config.render import render
from services.asterisk.config.secrets import MissingSecretError, mask_sections, restore, tokenize
from services.asterisk.config.text import ConfigTextError, parse, sections_in

LETTERS = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\x85\u2028\u2029")
NAMES = (
    st.text(LETTERS, min_size=1, max_size=12)
    .map(lambda text: text.strip(" "))
    .filter(lambda text: text and not set(text) & set("[]();=#\\+>,"))
)
VALUES = st.text(LETTERS, max_size=30).map(lambda text: text.strip(" "))
LINES = st.builds(Line, NAMES, VALUES)


@given(st.lists(st.builds(Section, NAMES, st.lists(LINES, max_size=6).map(tuple), st.booleans()), max_size=6))
def test_what_is_rendered_is_parsed_again(sections: list[Section]) -> None:
    assert parse(render(sections)).sections == sections
    assert sections_in(render(sections)) == sections


def test_a_text_as_people_write_it() -> None:
    found = parse(
        "; a comment\n[general]\nstatic=yes ; on the line\n\n;-- many\n[lines] --;\n[a](!)\nx = 1\n"
        "[b](a)\r\nexten => 100,1,Set(V=a\\;b)\n same=> n,Hangup()\ny =\n"
    )
    assert found.sections == [
        Section("general", (Line("static", "yes"),)),
        Section("a", (Line("x", "1"),), template=True),
        Section("b", (Line("exten", "100,1,Set(V=a;b)"), Line("same", "n,Hangup()"), Line("y", "")), inherits=("a",)),
    ]
    assert found.headers == [2, 7, 9]
    assert found.numbers == [[3], [8], [10, 11, 12]]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("x = 1", 1, "precedes the first section"),
        ("[a]\n\nx", 3, "has no ="),
        ("[a]\n[b", 2, "the closing ] is missing"),
        ("[a](b", 1, "only (!) or (template)"),
        ("[a](t)", 1, "no section [t] precedes"),
        ("[a]\n#include x.conf", 2, "cannot be written over AMI"),
        ("[a]\n = 1", 2, "has no name"),
        ("[a]\n[a](+)", 2, "(+)"),
        ("[a]\nx += 1", 2, "+="),
        ("[]", 1, "must not be empty"),
        ("[" + 80 * "x" + "]", 1, "79 bytes"),
        ("[a]\nx = " + 1000 * "é", 2, "980 bytes"),
        ("[a]\nx = 1\n;-- open\n", 3, "has no end"),
        ("[t](!)\nx = 1\n[a](t)\nx = 1", 4, "a template of this section"),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(ConfigTextError) as raised:
        parse(text)
    assert raised.value.line == line
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[a]\nextern => 100,1,Answer()", 2),
        ("[a]\nsame => n,Answer()", 2),
        ("[a]\nexten => 100,1", 2),
        ("[a]\nexten => ,1,Answer()", 2),
        ("[a]\nexten => 100,one,Answer()", 2),
        ("[a]\nexten => 100,1,Answer(\nsame => n,Hangup()", 2),
        ("[a]\nexten => 100,1,Answer()\nsame => Hangup()", 3),
    ],
)
def test_a_dialplan_that_asterisk_would_pass_over(text: str, line: int) -> None:
    with pytest.raises(ConfigTextError) as raised:
        check(DIALPLAN, parse(text))
    assert raised.value.line == line


def test_a_dialplan_that_is_one() -> None:
    text = (
        "[general]\nstatic = yes\n[globals]\nX = 1\n[a]\ninclude => b\nexten => _X.,1(start),Set(A=b)\n"
        " same => n(here),Goto(start)\nexten => 100,hint,PJSIP/100&Custom:x\nexten => 100/200,n+1,Hangup\n"
    )
    check(DIALPLAN, parse(text))


def test_a_pjsip_section_has_a_type_of_its_own_or_its_templates() -> None:
    check(PJSIP, parse("[t](!)\ntype = endpoint\n[a](t)\ncontext = x\n"))
    with pytest.raises(ConfigTextError, match="line 3: section \\[b\\] has no type"):
        check(PJSIP, parse("[t](!)\nx = 1\n[b](t)\ncontext = x\n"))


AUTH = Section("a", (Line("type", "auth"), Line("password", "geheim"), Line("md5_cred", ""), Line("username", "u")))


def test_secrets_are_cut_out_and_put_in_again() -> None:
    assert mask_sections([AUTH])[0].lines[1:3] == (Line("password", MASK), Line("md5_cred", ""))
    cut_out, values = tokenize([AUTH])
    assert list(values.values()) == ["geheim"]
    assert "geheim" not in render(cut_out)
    assert restore(cut_out, [], values) == [AUTH]


def test_a_mask_keeps_what_is_there() -> None:
    others = Section("A", (Line("type", "endpoint"),))
    assert restore(mask_sections([others, AUTH]), [AUTH], {}) == [others, AUTH]
    with pytest.raises(MissingSecretError, match=r"\[b\] password: there is no present value"):
        restore([Section("b", (Line("password", MASK),))], [AUTH], {})
    with pytest.raises(MissingSecretError, match="has expired"):
        restore(tokenize([AUTH])[0], [AUTH], {})


def test_a_mask_follows_its_section() -> None:
    first, second = (
        Section("a", (Line("username", name), Line("password", word))) for name, word in (("u", "1"), ("v", "2"))
    )
    assert restore(mask_sections([second]), [first, second], {}) == [second]
    changed = Section("a", (Line("username", "w"), Line("password", MASK)))
    assert restore([changed, *mask_sections([first])], [first, second], {})[0].lines[1].value == "2"


@pytest.mark.parametrize("name", ["password", "md5_cred", "SECRET", "oauth_secret", "refresh_token"])
def test_secret_names(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["exten", "moh_passthrough", "username", "type"])
def test_names_that_are_none(name: str) -> None:
    assert not is_secret(name)
