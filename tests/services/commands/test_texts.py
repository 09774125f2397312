"""Texts that use cases refuse before anything is requested of a PBX."""

import pytest

from schemas.configuration import Line, Section
from services.commands.config_sections import reject_special, require_writable
from services.commands.pbx import reject_line_breaks
from services.runtime.errors import Invalid, NotFound


@pytest.mark.parametrize("text", ["a\rb", "a\nb", "a\0b", "\r\nAction: Originate"])
def test_line_breaks_and_nul_are_refused(text: str) -> None:
    with pytest.raises(Invalid):
        reject_line_breaks("harmless", text)


def test_other_texts_are_accepted() -> None:
    reject_line_breaks("", "PJSIP/100", "Zo\u00eb \u2028")


@pytest.mark.parametrize("value", [" blank before", "blank after ", "two\nlines"])
def test_a_line_that_cannot_round_trip_is_refused(value: str) -> None:
    with pytest.raises(Invalid):
        require_writable("queues.conf", Section("support", (Line("musicclass", value),)))


def test_a_writable_section_is_returned() -> None:
    section = Section("support", (Line("strategy", "ringall"),), inherits=("default",))
    assert require_writable("queues.conf", section) is section


@pytest.mark.parametrize("name", ["general", "Globals"])
def test_sections_of_the_whole_file_are_not_found(name: str) -> None:
    with pytest.raises(NotFound):
        reject_special(name)
