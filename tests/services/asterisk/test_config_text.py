"""Texts of configuration files: parsed as by Asterisk, rendered and checked, with tokens in place of secrets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.configuration import DIALPLAN, PJSIP, Line, Section
from schemas.secrets import MASK, is_secret
from services.asterisk.config.checks import check_text
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
def test_rendered_sections_parse_to_the_same(sections: list[Section]) -> None:
    assert parse(render(sections)).sections == sections
    assert sections_in(render(sections)) == sections


def test_a_handwritten_text_is_parsed() -> None:
    text = parse(
        "; a comment\n[general]\nstatic=yes ; on the line\n\n;-- many\n[lines] --;\n[a](!)\nx = 1\n"
        "[b](a)\r\nexten => 100,1,Set(V=a\\;b)\n same=> n,Hangup()\ny =\n"
    )
    assert text.sections == [
        Section("general", (Line("static", "yes"),)),
        Section("a", (Line("x", "1"),), template=True),
        Section("b", (Line("exten", "100,1,Set(V=a;b)"), Line("same", "n,Hangup()"), Line("y", "")), inherits=("a",)),
    ]
    assert text.headers == [2, 7, 9]
    assert text.numbers == [[3], [8], [10, 11, 12]]


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
def test_an_error_has_its_line(text: str, line: int, words: str) -> None:
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
def test_a_dialplan_line_that_asterisk_skips_is_refused(text: str, line: int) -> None:
    with pytest.raises(ConfigTextError) as raised:
        check_text(DIALPLAN, parse(text))
    assert raised.value.line == line


def test_a_valid_dialplan_is_accepted() -> None:
    text = (
        "[general]\nstatic = yes\n[globals]\nX = 1\n[a]\ninclude => b\nexten => _X.,1(start),Set(A=b)\n"
        " same => n(here),Goto(start)\nexten => 100,hint,PJSIP/100&Custom:x\nexten => 100/200,n+1,Hangup\n"
    )
    check_text(DIALPLAN, parse(text))


def test_a_pjsip_section_has_or_inherits_a_type() -> None:
    check_text(PJSIP, parse("[t](!)\ntype = endpoint\n[a](t)\ncontext = x\n"))
    with pytest.raises(ConfigTextError, match="line 3: section \\[b\\] has no type"):
        check_text(PJSIP, parse("[t](!)\nx = 1\n[b](t)\ncontext = x\n"))


AUTH = Section("a", (Line("type", "auth"), Line("password", "geheim"), Line("md5_cred", ""), Line("username", "u")))


def test_secrets_become_tokens_and_are_restored() -> None:
    assert mask_sections([AUTH])[0].lines[1:3] == (Line("password", MASK), Line("md5_cred", ""))
    tokenized, values = tokenize([AUTH])
    assert list(values.values()) == ["geheim"]
    assert "geheim" not in render(tokenized)
    assert restore(tokenized, [], values) == [AUTH]


def test_a_mask_keeps_the_present_secret() -> None:
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
def test_names_of_secrets_are_recognized(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["exten", "moh_passthrough", "username", "type"])
def test_other_names_are_no_secrets(name: str) -> None:
    assert not is_secret(name)
