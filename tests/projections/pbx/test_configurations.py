"""Configuration files: what stands in one, and what stood there before, by the time when it was replaced."""

from projections.pbx.configurations import CONFIGURATIONS
from schemas.configuration import ConfigurationDeleted, ConfigurationRead
from tests.support.folding import START, Folding, ami

FILE = "queues.conf"
FIRST = f"{FILE}.2026-11-22T01:00:03.000000Z"
SECOND = f"{FILE}.2026-11-22T01:00:04.000000Z"


def test_what_is_replaced_stays_as_an_earlier_version() -> None:
    files = Folding(CONFIGURATIONS)
    rows = files.tell(ConfigurationRead(FILE, "one"), ConfigurationRead(FILE, "one"))
    assert {key: row.text for key, row in rows.items()} == {(FILE, FILE): "one"}
    rows = files.tell(ConfigurationRead(FILE, "two"), ConfigurationRead(FILE, "one"), ConfigurationRead("other", "x"))
    assert {key: row.text for key, row in rows.items()} == {
        (FILE, FILE): "one",
        (FILE, FIRST): "one",
        (FILE, SECOND): "two",
        ("other", "other"): "x",
    }
    assert [(rows[FILE, name].since - START).seconds for name in (FIRST, SECOND, FILE)] == [1, 3, 4]
    assert files.tell(ConfigurationRead(FILE, "three"), pbx="another").keys() == {(FILE, FILE)}


def test_a_version_is_deleted_and_the_file_never() -> None:
    files = Folding(CONFIGURATIONS)
    files.tell(ConfigurationRead(FILE, "one"), ConfigurationRead(FILE, "two"))
    name = f"{FILE}.2026-11-22T01:00:02.000000Z"
    rows = files.tell(ConfigurationDeleted(FILE, name), ConfigurationDeleted(FILE, FILE))
    assert rows.keys() == {(FILE, FILE)}


def test_a_pbx_that_sends_an_event_of_this_name_changes_nothing() -> None:
    assert Folding(CONFIGURATIONS).tell(ami("ConfigurationRead", file=FILE, text="x")) == {}
