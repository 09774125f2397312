"""Buddies, chats, rooms and messages: a copied event changes nothing, and a deleted user leaves all of them."""

from datetime import UTC, datetime, timedelta

from projections.people.buddies import BUDDIES
from projections.people.chats import CHATS
from projections.people.messages import MESSAGES
from projections.people.rooms import ROOMS
from schemas.facts import Fact
from schemas.social import BuddyAdded, ChatChanged, ChatLeft, MessagePosted, RoomJoined, RoomOpened
from tests.support.folding import START, FoldSpec

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
LUNCH = RoomOpened("lunch", 2, "a", (("a", "a1"), ("b", "b1"), ("c", "c1")), "Lunch", "at noon")
PAIR = RoomOpened("pair", 1, "b", (("b", "b2"), ("a", "a2")), "", "")


class UserDeleted(Fact, frozen=True):
    uuid: str


def test_a_copy_of_an_event_changes_nothing() -> None:
    for model, events in (
        (BUDDIES, [BuddyAdded("1", "a", "b"), BuddyAdded("2", "a", "b", "other")]),
        (CHATS, [LUNCH, LUNCH]),
        (ROOMS, [LUNCH, LUNCH]),
        (MESSAGES, [MessagePosted("1", "lunch", "a", NOON, "hi"), MessagePosted("2", "lunch", "b", NOON, "other")]),
    ):
        folding = FoldSpec(model)
        once = dict(folding.when(events[0], pbx="").then(pbx=""))
        assert once
        assert folding.when(events[1], pbx="").then(pbx="") == once
        assert all(row.tm_update == START + timedelta(seconds=1) for row in once.values())


def test_facts_from_a_pbx_are_ignored() -> None:
    events = [
        LUNCH,
        RoomJoined("lunch", (("d", "d1"),), "", ""),
        ChatChanged("a1", "a", "x", "y"),
        ChatLeft("a1", "a", "lunch"),
        BuddyAdded("1", "a", "b"),
        MessagePosted("1", "lunch", "a", NOON, "hi"),
        UserDeleted("a"),
    ]
    for model in (BUDDIES, CHATS, MESSAGES, ROOMS):
        folding = FoldSpec(model)
        before = folding.when(
            LUNCH, BuddyAdded("1", "a", "b"), MessagePosted("1", "lunch", "a", NOON, "hi"), pbx=""
        ).then(pbx="")
        assert folding.when(events, pbx="berlin").then(pbx="berlin") == {}
        assert folding.then(pbx="") == before


def test_a_deleted_user_leaves_all_buddy_lists() -> None:
    folding = FoldSpec(BUDDIES)
    folding.when(BuddyAdded("1", "a", "b"), BuddyAdded("2", "b", "a"), BuddyAdded("3", "a", "c"), pbx="")
    folding.when(BuddyAdded("4", "c", "b"), pbx="")
    assert folding.when(UserDeleted("b"), pbx="").then(pbx="").keys() == {("a", "c")}
    assert folding.when(UserDeleted("b"), UserDeleted("nobody"), pbx="").then(pbx="").keys() == {("a", "c")}


def test_a_deleted_user_leaves_rooms_and_chats() -> None:
    rooms, chats = FoldSpec(ROOMS), FoldSpec(CHATS)
    alone = RoomOpened("alone", 2, "a", (("a", "a3"),), "", "")
    for folding in (rooms, chats):
        folding.when(LUNCH, PAIR, alone, UserDeleted("a"), pbx="")
    left = rooms.then(pbx="")
    assert {key: (row.members, row.uuid_creator, row.uuid_owner) for key, row in left.items()} == {
        ("lunch",): (["b", "c"], "a", "b"),
        ("pair",): (["b"], "b", "b"),
    }
    assert chats.then(pbx="").keys() == {("b", "b1"), ("c", "c1"), ("b", "b2")}


def test_a_returning_member_comes_last() -> None:
    rooms, chats = FoldSpec(ROOMS), FoldSpec(CHATS)
    for folding in (rooms, chats):
        folding.when(PAIR, ChatLeft("b2", "b", "pair"), RoomJoined("pair", (("b", "b3"),), "Back", ""), pbx="")
    [room] = rooms.then(pbx="").values()
    assert (room.members, room.uuid_creator, room.uuid_owner, room.opened_for) == (["a", "b"], "b", "a", ["b", "a"])
    assert {key: row.name for key, row in chats.then(pbx="").items()} == {("a", "a2"): "", ("b", "b3"): "Back"}
    assert rooms.when(ChatLeft("a2", "a", "pair"), ChatLeft("b3", "b", "pair"), pbx="").then(pbx="") == {}
    assert rooms.when(RoomJoined("pair", (("a", "a4"),), "", ""), pbx="").then(pbx="") == {}


def test_a_deleted_chat_is_not_renamed() -> None:
    chats = FoldSpec(CHATS)
    chats.when(PAIR, ChatLeft("a2", "a", "pair"), ChatChanged("a2", "a", "x", "y"), pbx="")
    assert chats.when(ChatChanged("b2", "b", "x", "y"), pbx="").then(pbx="").keys() == {("b", "b2")}
    [row] = chats.then(pbx="").values()
    assert (row.name, row.detail, row.tm_create < row.tm_update) == ("x", "y", True)
