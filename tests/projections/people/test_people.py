"""Users, their permissions, contacts and tokens, as folds of what was decided."""

from projections.people.contacts import CONTACTS
from projections.people.tokens import TOKENS
from projections.people.users import USERS, first_grant
from schemas.contacts import ContactChanged, ContactCreated, ContactDeleted
from schemas.users import (
    PasswordChanged,
    PermissionGranted,
    PermissionRevoked,
    TokenIssued,
    TokenRevoked,
    UserChanged,
    UserCreated,
    UserDeleted,
)
from tests.support.folding import Folding, ami

ALICE = UserCreated("u1", "alice", "Alice", "$hash", ("manager", "user"), "user", "demo")


def test_a_user_is_made_changed_and_deleted() -> None:
    users = Folding(USERS)
    row = users.tell(ALICE, pbx="")["u1",]
    assert (row.username, row.name, row.context, row.password_hash, row.chosen_by) == (
        "alice",
        "Alice",
        "demo",
        "$hash",
        "user",
    )
    assert row.permissions == {"manager": first_grant("u1", "manager"), "user": first_grant("u1", "user")}
    assert row.tm_create == row.tm_update
    row = users.tell(UserChanged("u1", name="null", context=""), pbx="")["u1",]
    assert (row.username, row.name, row.context) == ("alice", "null", "")
    assert row.tm_create < row.tm_update
    row = users.tell(PasswordChanged("u1", "$other", "settings"), pbx="")["u1",]
    assert (row.password_hash, row.chosen_by, row.name) == ("$other", "settings", "null")
    assert users.tell(UserDeleted("u1"), UserChanged("u1", name="gone"), pbx="") == {}


def test_permissions_come_and_go_and_keep_their_uuid() -> None:
    users = Folding(USERS)
    row = users.tell(ALICE, PermissionGranted("g1", "u1", "jeye"), pbx="")["u1",]
    assert row.permissions["jeye"] == "g1"
    row = users.tell(PermissionRevoked("g1", "u1", "jeye"), PermissionGranted("g1", "u1", "admin"), pbx="")["u1",]
    assert sorted(row.permissions) == ["admin", "manager", "user"]
    assert row.permissions["admin"] == "g1"
    assert users.tell(PermissionGranted("g2", "u2", "admin"), PermissionRevoked("g2", "u2", "admin"), pbx="") == {
        ("u1",): row
    }


def test_a_contact_is_made_changed_and_ends_with_its_user() -> None:
    contacts = Folding(CONTACTS)
    one = ContactCreated("c1", "u1", "pjsip_endpoint", "100", "berlin", "desk", "3rd floor")
    rows = contacts.tell(one, ContactCreated("c2", "u2", "sip_peer", "legacy1"), pbx="")
    row = rows["c1",]
    assert (row.user_uuid, row.kind, row.target, row.at_pbx, row.name, row.detail) == (
        "u1",
        "pjsip_endpoint",
        "100",
        "berlin",
        "desk",
        "3rd floor",
    )
    row = contacts.tell(ContactChanged("c1", target="101", at_pbx=""), pbx="")["c1",]
    assert (row.target, row.at_pbx, row.name) == ("101", "", "desk")
    assert list(contacts.tell(UserDeleted("u1"), pbx="")) == [("c2",)]
    assert contacts.tell(ContactDeleted("c2"), ContactChanged("c2", name="gone"), pbx="") == {}


def test_a_pbx_makes_and_ends_nothing_of_ours() -> None:
    users, contacts, tokens = Folding(USERS), Folding(CONTACTS), Folding(TOKENS)
    users.tell(ALICE, pbx="")
    contacts.tell(ContactCreated("c1", "u1", "sip_peer", "legacy1"), pbx="")
    tokens.tell(TokenIssued("t1", "u1"), pbx="")
    said = [
        UserDeleted("u1"),
        PermissionGranted("g", "u1", "admin"),
        ContactDeleted("c1"),
        TokenRevoked("t1", "logout"),
    ]
    for model in (users, contacts, tokens):
        assert model.tell(said) == {}
        model.tell(ami("UserDeleted", uuid="u1"), ami("ContactDeleted", uuid="c1"), pbx="")
    assert [list(model.tell(pbx="")) for model in (users, contacts, tokens)] == [[("u1",)], [("c1",)], [("t1",)]]
    assert users.tell(pbx="")["u1",].permissions.keys() == {"manager", "user"}
