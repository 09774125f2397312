"""The cache of bodies: the last used ones, up to a number of bytes and of entries."""

from cachetools import LRUCache

from api.http.views.cache import byte_cache


def cache(max_entries: int | None = None) -> LRUCache[str, bytes]:
    return byte_cache(10, len, max_entries)


def test_the_least_recently_used_value_is_dropped() -> None:
    values = cache()
    values["a"] = b"1234"
    values["b"] = b"1234"
    assert values.get("a") == b"1234"
    values["c"] = b"1234"
    assert [values.get(key) for key in "abc"] == [b"1234", None, b"1234"]


def test_a_value_beyond_the_limit_is_stored_alone() -> None:
    values = cache()
    values["a"] = b"1"
    values["b"] = b"x" * 11
    assert [values.get(key) for key in "ab"] == [None, b"x" * 11]
    values["c"] = b"1"
    assert [values.get(key) for key in "bc"] == [None, b"1"]


def test_a_new_value_replaces_the_old_size() -> None:
    values = cache()
    for _ in range(5):
        values["a"] = b"123456"
    values["b"] = b"1234"
    assert [values.get(key) for key in "ab"] == [b"123456", b"1234"]


def test_the_number_of_entries_is_bounded() -> None:
    values = cache(max_entries=2)
    for key in "abc":
        values[key] = b""
    assert [values.get(key) for key in "abc"] == [None, b"", b""]
    values.clear()
    assert values.get("c") is None
