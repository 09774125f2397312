"""Configuration files: the present text, and earlier versions named by the time of their replacement."""

from projections.pbx.configurations import CONFIGURATIONS
from schemas.configuration import ConfigurationDeleted, ConfigurationRead
from tests.support.folding import START, FoldSpec, ami

FILE = "queues.conf"
FIRST = f"{FILE}.2026-11-22T01:00:03.000000Z"
SECOND = f"{FILE}.2026-11-22T01:00:04.000000Z"


def test_a_replaced_text_becomes_an_earlier_version() -> None:
    files = FoldSpec(CONFIGURATIONS)
    rows = files.when(ConfigurationRead(FILE, "one"), ConfigurationRead(FILE, "one")).then(pbx="pbx")
    assert {key: row.text for key, row in rows.items()} == {(FILE, FILE): "one"}
    rows = files.when(
        ConfigurationRead(FILE, "two"), ConfigurationRead(FILE, "one"), ConfigurationRead("other", "x")
    ).then(pbx="pbx")
    assert {key: row.text for key, row in rows.items()} == {
        (FILE, FILE): "one",
        (FILE, FIRST): "one",
        (FILE, SECOND): "two",
        ("other", "other"): "x",
    }
    assert [(rows[FILE, name].since - START).seconds for name in (FIRST, SECOND, FILE)] == [1, 3, 4]
    assert files.when(ConfigurationRead(FILE, "three"), pbx="another").then(pbx="another").keys() == {(FILE, FILE)}


def test_only_earlier_versions_can_be_deleted() -> None:
    files = FoldSpec(CONFIGURATIONS)
    files.when(ConfigurationRead(FILE, "one"), ConfigurationRead(FILE, "two"))
    name = f"{FILE}.2026-11-22T01:00:02.000000Z"
    rows = files.when(ConfigurationDeleted(FILE, name), ConfigurationDeleted(FILE, FILE)).then(pbx="pbx")
    assert rows.keys() == {(FILE, FILE)}


def test_a_configuration_event_from_a_pbx_is_ignored() -> None:
    assert FoldSpec(CONFIGURATIONS).when(ami("ConfigurationRead", file=FILE, text="x")).then(pbx="pbx") == {}
