"""Users, their permissions, contacts and tokens, as folds of decisions."""

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
from tests.support.folding import FoldSpec, ami

ALICE = UserCreated("u1", "alice", "Alice", "$hash", ("manager", "user"), "user", "demo")


def test_a_user_is_created_changed_and_deleted() -> None:
    users = FoldSpec(USERS)
    row = users.when(ALICE, pbx="").then(pbx="")["u1",]
    assert (row.username, row.name, row.context, row.password_hash, row.chosen_by) == (
        "alice",
        "Alice",
        "demo",
        "$hash",
        "user",
    )
    assert row.permissions == {"manager": first_grant("u1", "manager"), "user": first_grant("u1", "user")}
    assert row.tm_create == row.tm_update
    row = users.when(UserChanged("u1", name="null", context=""), pbx="").then(pbx="")["u1",]
    assert (row.username, row.name, row.context) == ("alice", "null", "")
    assert row.tm_create < row.tm_update
    row = users.when(PasswordChanged("u1", "$other", "settings"), pbx="").then(pbx="")["u1",]
    assert (row.password_hash, row.chosen_by, row.name) == ("$other", "settings", "null")
    assert users.when(UserDeleted("u1"), UserChanged("u1", name="gone"), pbx="").then(pbx="") == {}


def test_permissions_are_granted_and_revoked_with_their_uuid() -> None:
    users = FoldSpec(USERS)
    row = users.when(ALICE, PermissionGranted("g1", "u1", "jeye"), pbx="").then(pbx="")["u1",]
    assert row.permissions["jeye"] == "g1"
    row = users.when(PermissionRevoked("g1", "u1", "jeye"), PermissionGranted("g1", "u1", "admin"), pbx="").then(
        pbx=""
    )["u1",]
    assert sorted(row.permissions) == ["admin", "manager", "user"]
    assert row.permissions["admin"] == "g1"
    assert users.when(PermissionGranted("g2", "u2", "admin"), PermissionRevoked("g2", "u2", "admin"), pbx="").then(
        pbx=""
    ) == {("u1",): row}


def test_a_contact_lives_until_its_user_is_deleted() -> None:
    contacts = FoldSpec(CONTACTS)
    one = ContactCreated("c1", "u1", "pjsip_endpoint", "100", "berlin", "desk", "3rd floor")
    rows = contacts.when(one, ContactCreated("c2", "u2", "sip_peer", "legacy1"), pbx="").then(pbx="")
    row = rows["c1",]
    assert (row.user_uuid, row.kind, row.target, row.at_pbx, row.name, row.detail) == (
        "u1",
        "pjsip_endpoint",
        "100",
        "berlin",
        "desk",
        "3rd floor",
    )
    row = contacts.when(ContactChanged("c1", target="101", at_pbx=""), pbx="").then(pbx="")["c1",]
    assert (row.target, row.at_pbx, row.name) == ("101", "", "desk")
    assert list(contacts.when(UserDeleted("u1"), pbx="").then(pbx="")) == [("c2",)]
    assert contacts.when(ContactDeleted("c2"), ContactChanged("c2", name="gone"), pbx="").then(pbx="") == {}


def test_a_pbx_cannot_change_users_contacts_or_tokens() -> None:
    users, contacts, tokens = FoldSpec(USERS), FoldSpec(CONTACTS), FoldSpec(TOKENS)
    users.when(ALICE, pbx="")
    contacts.when(ContactCreated("c1", "u1", "sip_peer", "legacy1"), pbx="")
    tokens.when(TokenIssued("t1", "u1"), pbx="")
    events = [
        UserDeleted("u1"),
        PermissionGranted("g", "u1", "admin"),
        ContactDeleted("c1"),
        TokenRevoked("t1", "logout"),
    ]
    for model in (users, contacts, tokens):
        assert model.when(events).then(pbx="pbx") == {}
        model.when(ami("UserDeleted", uuid="u1"), ami("ContactDeleted", uuid="c1"), pbx="")
    assert [list(model.then(pbx="")) for model in (users, contacts, tokens)] == [[("u1",)], [("c1",)], [("t1",)]]
    assert users.then(pbx="")["u1",].permissions.keys() == {"manager", "user"}
