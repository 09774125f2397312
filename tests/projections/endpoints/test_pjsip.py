"""PJSIP: contacts added and removed around lists, the rows that a list sweeps, states as Asterisk's words."""

from datetime import UTC, datetime
from hashlib import md5
from typing import Any

import msgspec
import pytest

from projections.endpoints.pjsip_aors import PJSIP_AORS
from projections.endpoints.pjsip_auths import PJSIP_AUTHS
from projections.endpoints.pjsip_contacts import PJSIP_CONTACTS
from projections.endpoints.pjsip_endpoints import PJSIP_ENDPOINTS, WORDS
from projections.endpoints.pjsip_registrations import PJSIP_REGISTRATIONS
from schemas.ami import AmiEvent
from schemas.ami.pjsip import Aor, ContactDetail, ContactListed
from schemas.log import SnapshotCompleted, SnapshotListed, SnapshotStarted
from tests.support.folding import Event, FoldSpec, ami, listing

URI = "sip:100@127.0.0.10:6200"
ID = f"100;@{md5(URI.encode()).hexdigest()}"
TRUNK = ("trunk", "sip:127.0.0.3:5060")


def status(word: str, uri: str = URI, aor: str = "100") -> bytes:
    return ami("ContactStatus", URI=uri, ContactStatus=word, AOR=aor, EndpointName=aor, RoundtripUsec=0)


def contact(uri: str = URI, **more: object) -> bytes:
    item = {"ObjectName": ID, "ViaAddr": "127.0.0.10", "ViaPort": 6200, "QualifyTimeout": "3.000000", "Uri": uri}
    state = {"AuthenticateQualify": "no", "UserAgent": "phone", "ExpirationTime": 1795308981, "Status": "Reachable"}
    return ami("ContactList", ObjectType="contact", **item, **state, **more)


def trunk() -> bytes:
    ids = {"AOR": TRUNK[0], "URI": TRUNK[1], "ID": "trunk@@ec370cc9b453b450120dcdb14e128945", "EndpointName": "trunk"}
    return ami("ContactStatusDetail", **ids, UserAgent="", RegExpire=0, Status="NonQualified", RoundtripUsec="N/A")


def aor(name: str, contacts: str, **more: object) -> bytes:
    return ami("AorList", ObjectType="aor", ObjectName=name, Contacts=contacts, MaxContacts=2, **more)


def test_a_contact_exists_until_it_is_removed() -> None:
    contacts = FoldSpec(PJSIP_CONTACTS)
    row: Any = contacts.when(status("NonQualified"), status("Reachable")).then()["100", URI]
    assert (row.id, row.status, row.endpoint_name) == (ID, "Reachable", "100")
    row = contacts.when(contact()).then()["100", URI]
    assert (row.id, row.user_agent, row.via_address, row.reg_expire) == (ID, "phone", "127.0.0.10:6200", 1795308981)
    assert (row.qualify_timeout, row.authentication_qualify) == (3.0, 0)
    assert contacts.when(status("Removed")).then() == {}


@pytest.mark.parametrize("outcome", ["complete", "empty"])
def test_a_contact_list_sweeps_registered_contacts_only(outcome: str) -> None:
    contacts = FoldSpec(PJSIP_CONTACTS)
    contacts.when(status("Reachable"), trunk())
    assert set(contacts.when(listing("PJSIPShowContacts", outcome=outcome)).then()) == {TRUNK}


@pytest.mark.parametrize("outcome", ["unsupported", "failed"])
@pytest.mark.parametrize("action", ["PJSIPShowContacts", "PJSIPShowAors"])
def test_a_refused_list_sweeps_nothing(action: str, outcome: str) -> None:
    contacts = FoldSpec(PJSIP_CONTACTS)
    contacts.when(status("Reachable"), trunk())
    assert set(contacts.when(listing(action, outcome=outcome)).then()) == {("100", URI), TRUNK}


def test_a_configured_contact_stays_with_its_aor() -> None:
    contacts = FoldSpec(PJSIP_CONTACTS)
    contacts.when(trunk())
    assert set(contacts.when(listing("PJSIPShowAors", aor("trunk", "/".join(TRUNK)))).then()) == {TRUNK}
    assert contacts.when(listing("PJSIPShowAors", aor("trunk", ""))).then() == {}


def test_a_contact_removed_during_its_list_stays_away() -> None:
    item = contact(ActionID="ringledger/7/PJSIPShowContacts")
    contacts = FoldSpec(PJSIP_CONTACTS)
    events: list[Event] = [
        SnapshotStarted(7),
        status("Removed"),
        item,
        SnapshotListed(7, "PJSIPShowContacts", "complete"),
    ]
    assert contacts.when(events, SnapshotCompleted(7)).then() == {}
    # An empty list does not sweep a contact that was added meanwhile.
    events = [SnapshotStarted(8), status("NonQualified"), SnapshotListed(8, "PJSIPShowContacts", "empty")]
    assert set(contacts.when(events, SnapshotCompleted(8)).then()) == {("100", URI)}


def test_an_aor_counts_its_contacts() -> None:
    aors = FoldSpec(PJSIP_AORS)
    aors.when(listing("PJSIPShowAors", aor("100", ""), aor("trunk", "/".join(TRUNK))))
    detail = {"ObjectType": "aor", "ObjectName": "trunk", "Contacts": "/".join(TRUNK), "EndpointName": "trunk"}
    rows = aors.when(ami("AorDetail", **detail, TotalContacts=1, ContactsRegistered=0)).then()
    assert (rows["trunk",].total_contacts, rows["trunk",].contacts_registered) == (1, 0)

    def columns() -> tuple[str, int, int]:
        row = aors.then()["100",]
        return (row.contacts, row.total_contacts, row.contacts_registered)

    # A URI may contain commas, so only ",<aor>/" separates contacts.
    other = "sip:1,2@127.0.0.11:5060"
    aors.when(status("NonQualified"), status("Reachable"), status("NonQualified", other))
    assert columns() == (f"100/{URI},100/{other}", 2, 2)
    aors.when(status("Unreachable", other))
    assert columns() == (f"100/{URI},100/{other}", 2, 2)
    aors.when(status("Removed"), status("Removed"))
    assert columns() == (f"100/{other}", 1, 1)
    aors.when(listing("PJSIPShowAors", aor("100", f"100/{other},100/{URI}"), aor("trunk", "/".join(TRUNK))))
    assert columns() == (f"100/{other},100/{URI}", 2, 2)
    assert (aors.then()["trunk",].contacts_registered, aors.then()["trunk",].endpoint_name) == (0, "trunk")
    assert set(aors.when(listing("PJSIPShowAors", aor("100", ""))).then()) == {("100",)}


def test_secrets_are_masked_and_missing_ones_empty() -> None:
    auths = FoldSpec(PJSIP_AUTHS)
    has = {"ObjectType": "auth", "ObjectName": "100", "Username": "100", "AuthType": "userpass", "Realm": ""}
    row = auths.when(ami("AuthList", **has, Password="pw100", Md5Cred="", NonceLifetime=32)).then()["100",]
    assert (row.password, row.md5_cred, row.nonce_lifetime, row.endpoint_name) == ("********", "", 32, "")
    auths.when(ami("AuthDetail", **has, Password="pw100", Md5Cred="", NonceLifetime=32, EndpointName="100"))
    row = auths.when(ami("AuthList", **has, Password="", Md5Cred="0123", NonceLifetime=32)).then()["100",]
    assert (row.password, row.md5_cred, row.endpoint_name) == ("", "********", "100")


def test_an_endpoint_has_state_words_and_detail_options() -> None:
    endpoints = FoldSpec(PJSIP_ENDPOINTS)
    assert endpoints.when(ami("DeviceStateChange", Device="PJSIP/100", State="INUSE")).then() == {}
    item = ami("EndpointList", ObjectType="endpoint", ObjectName="100", Transport="udp", Aor="100", Auths="100")
    endpoints.when(listing("PJSIPShowEndpoints", item))
    for state, word in WORDS.items():
        row = endpoints.when(ami("DeviceStateChange", Device="PJSIP/100", State=state)).then()["100",]
        assert row.device_state == word
    detail = {"ObjectType": "endpoint", "ObjectName": "100", "Aors": "100", "Auth": "100", "Transport": "udp"}
    options = {"100rel": "yes", "MohPassthrough": "false", "Acl": "", "DtmfMode": "info"}
    event = ami("EndpointDetail", **detail, **options, DeviceState="Not in use", ActiveChannels=0)
    row = endpoints.when(event).then()["100",]
    assert (row.device_state, row.transport, row.auth) == ("Not in use", "udp", "100")
    assert row.options == {**detail, "100rel": "yes", "MohPassthrough": "false", "DtmfMode": "info"}
    assert endpoints.when(listing("PJSIPShowEndpoints", item)).then()["100",].options == row.options


def test_a_listed_device_keeps_no_deleted_endpoint() -> None:
    endpoints = FoldSpec(PJSIP_ENDPOINTS)
    endpoints.when(listing("PJSIPShowEndpoints", ami("EndpointList", ObjectName="100")))
    remembered = ami("DeviceStateChange", ActionID="ringledger/8/DeviceStateList", Device="PJSIP/100", State="INVALID")
    events: list[Event] = [
        SnapshotStarted(8),
        remembered,
        SnapshotListed(8, "PJSIPShowEndpoints", "empty"),
        SnapshotCompleted(8),
    ]
    assert endpoints.when(events).then() == {}


def test_a_registration_follows_events_with_its_uris() -> None:
    registrations = FoldSpec(PJSIP_REGISTRATIONS)
    uris = {"ClientUri": "sip:lab@127.0.0.4:5080", "ServerUri": "sip:127.0.0.4:5080"}
    item = ami("OutboundRegistrationDetail", ObjectName="provider", Status="Unregistered", Expiration=60, **uris)
    registrations.when(listing("PJSIPShowRegistrationsOutbound", item))
    live = {"ChannelType": "PJSIP", "Username": uris["ClientUri"], "Domain": uris["ServerUri"]}
    other = {**live, "Username": "sip:somebody@127.0.0.4:5080"}
    rows = registrations.when(
        ami("Registry", **live, Status="Registered"), ami("Registry", **other, Status="Rejected")
    ).then()
    (row,) = rows.values()
    assert (row.object_name, row.status, row.expiration) == ("provider", "Registered", 60)
    assert registrations.when(listing("PJSIPShowRegistrationsOutbound")).then() == {}


@pytest.mark.parametrize("seconds", ["nan", "inf", "-infinity", "1e300"])
@pytest.mark.parametrize("shape", [Aor, ContactDetail, ContactListed])
def test_a_time_outside_integers_is_refused(shape: type[AmiEvent], seconds: str) -> None:
    now = datetime.now(UTC)
    headers = {"_pbx": "pbx", "_at": now, "_recorded": now, "_position": 1, "QualifyTimeout": seconds}
    with pytest.raises(msgspec.ValidationError, match="QualifyTimeout"):
        msgspec.convert(headers, shape, strict=False)
