"""Peers and registrations of the three channel drivers."""

from collections.abc import Iterable, Iterator

from projections.endpoints.peers import PEERS
from projections.endpoints.registries import REGISTRIES
from tests.support.folding import Event, FoldSpec, ami, listing

LEGACY = {"Channeltype": "SIP", "ObjectName": "legacy1", "ChanObjectType": "peer", "Dynamic": "yes"}
LIVE = {"ChannelType": "SIP", "Peer": "SIP/legacy1"}
SIP = "SIP/legacy1"


def test_a_sip_peer_follows_its_list_and_events() -> None:
    peers = FoldSpec(PEERS)

    def columns() -> tuple[str, str, str]:
        row = peers.then()[SIP,]
        return (row.status, row.address, row.monitor_status)

    peers.when(
        listing("SIPpeers", ami("PeerEntry", **LEGACY, IPaddress="-none-", IPport=0, Status="UNKNOWN", ACL="no"))
    )
    assert columns() == ("Unregistered", "", "UNKNOWN")
    peers.when(ami("PeerStatus", **LIVE, PeerStatus="Registered", Address="127.0.0.60:34099"))
    assert columns() == ("Registered", "127.0.0.60:34099", "UNKNOWN")
    peers.when(ami("PeerStatus", **LIVE, PeerStatus="Reachable", Time=22))  # Asterisk 22 has no Time
    assert columns() == ("Reachable", "127.0.0.60:34099", "OK (22 ms)")
    peers.when(ami("PeerStatus", **LIVE, PeerStatus="Unreachable", Time=-1))
    assert columns() == ("Unreachable", "127.0.0.60:34099", "UNREACHABLE")
    item = ami("PeerEntry", **LEGACY, IPaddress="127.0.0.60", IPport=34099, Status="OK (1 ms)", ACL="no")
    peers.when(listing("SIPpeers", item))
    assert columns() == ("Reachable", "127.0.0.60:34099", "OK (1 ms)")
    peers.when(ami("PeerStatus", **LIVE, PeerStatus="Unregistered", Cause="Expired"))
    assert columns() == ("Unregistered", "", "OK (1 ms)")  # `sip show peers` keeps the last status too
    row = peers.then()[SIP,]
    assert (row.peer, row.channel_type, row.chan_object_type, row.dynamic, row.acl) == (SIP, "SIP", "peer", "yes", "no")


def test_each_list_sweeps_its_own_drivers_peers() -> None:
    peers = FoldSpec(PEERS)
    entry = {"ChanObjectType": "peer", "IPaddress": "(null)", "Port": "(null)", "Dynamic": "yes", "Status": "UNKNOWN"}
    iax = ami("PeerEntry", Channeltype="IAX", ObjectName="iaxpeer1", **entry)
    rows = peers.when(
        listing("IAXpeerlist", iax),
        listing("SIPpeers", ami("PeerEntry", **LEGACY)),
        listing("PJSIPShowEndpoints", ami("EndpointList", ObjectName="100", DeviceState="Unavailable")),
    ).then()
    assert sorted(key[0] for key in rows) == ["IAX2/iaxpeer1", "PJSIP/100", "SIP/legacy1"]
    assert rows["IAX2/iaxpeer1",].address == ""
    assert ("SIP/legacy1",) in peers.when(listing("SIPpeers", outcome="unsupported")).then()
    assert sorted(key[0] for key in peers.when(listing("SIPpeers")).then()) == ["IAX2/iaxpeer1", "PJSIP/100"]
    assert sorted(key[0] for key in peers.when(listing("IAXpeerlist")).then()) == ["PJSIP/100"]
    assert peers.when(listing("PJSIPShowEndpoints", outcome="empty")).then() == {}


def test_a_pjsip_peer_has_its_contacts_addresses() -> None:
    peers = FoldSpec(PEERS)
    both = "100/sip:100@127.0.0.10:6200,100/sip:100@[::1]:5062;transport=tcp,"
    item = ami("EndpointList", ObjectType="endpoint", ObjectName="100", DeviceState="In use", Contacts=both)
    row = peers.when(listing("PJSIPShowEndpoints", item)).then()["PJSIP/100",]
    assert (row.status, row.address, row.chan_object_type) == ("Reachable", "127.0.0.10:6200,[::1]:5062", "endpoint")
    contact = {"AOR": "100", "EndpointName": "100"}
    row = peers.when(ami("ContactStatus", **contact, URI="sip:100@127.0.0.10:6200", ContactStatus="Removed")).then()[
        "PJSIP/100",
    ]
    assert row.address == "[::1]:5062"
    row = peers.when(ami("ContactStatus", **contact, URI="sip:100@127.0.0.12", ContactStatus="NonQualified")).then()[
        "PJSIP/100",
    ]
    assert row.address == "[::1]:5062,127.0.0.12"
    peers.when(ami("PeerStatus", ChannelType="PJSIP", Peer="PJSIP/100", PeerStatus="Unreachable"))
    # A call keeps the device "In use", so the device state does not show whether the endpoint is reachable.
    row = peers.when(listing("PJSIPShowEndpoints", item)).then()["PJSIP/100",]
    assert (row.status, row.monitor_status) == ("Unreachable", "")


def listed(*uris: str) -> Iterator[Event]:
    contacts = "".join(f"100/{uri}," for uri in uris)
    return listing("PJSIPShowEndpoints", ami("EndpointList", ObjectName="100", DeviceState="In use", Contacts=contacts))


def contact(uri: str, status: str) -> bytes:
    return ami("ContactStatus", AOR="100", EndpointName="100", URI=uri, ContactStatus=status)


def test_contacts_at_one_address_list_it_once() -> None:
    peers, proxied = FoldSpec(PEERS), [f"sip:100@192.0.2.9:5060;rinstance={n}" for n in "abc"]

    def address(*events: Event | Iterable[Event]) -> str:
        return str(peers.when(*events).then()["PJSIP/100",].address)

    assert address(listed(*proxied[:2])) == "192.0.2.9:5060"
    # With send_contact_status_on_update_registration every refresh sends NonQualified again.
    refreshes = [contact(uri, "NonQualified") for uri in (proxied[0], *proxied)]
    assert address(*refreshes, contact("sip:100@192.0.2.7", "NonQualified")) == "192.0.2.9:5060,192.0.2.7"
    assert address(*(contact(uri, "Removed") for uri in proxied[:2])) == "192.0.2.9:5060,192.0.2.7"
    assert address(contact(proxied[2], "Removed")) == "192.0.2.7"
    assert address(contact("sip:100@192.0.2.7", "Removed")) == ""


def test_an_old_list_item_keeps_newer_contacts() -> None:
    peers = FoldSpec(PEERS)
    peers.when(listed("sip:100@192.0.2.9;rinstance=a"))
    start, item, *rest = listed("sip:100@192.0.2.9;rinstance=a")
    peers.when(start, contact("sip:100@192.0.2.9;rinstance=b", "NonQualified"), item, *rest)
    row = peers.when(contact("sip:100@192.0.2.9;rinstance=a", "Removed")).then()["PJSIP/100",]
    assert row.address == "192.0.2.9"


def entry(host: str, port: int, domain: str, state: str) -> bytes:
    where = {"Host": host, "Port": port, "Username": "2345", "Domain": domain, "DomainPort": 5060}
    return ami("RegistryEntry", **where, Refresh=120, State=state, RegistrationTime=0)


def test_an_ambiguous_sip_account_does_not_change() -> None:
    registries = FoldSpec(REGISTRIES)
    live = {"ChannelType": "SIP", "Username": "2345", "Domain": "sip_proxy"}
    assert registries.when(ami("Registry", **live, Status="Registered")).then() == {}
    registries.when(listing("SIPshowregistry", entry("sip_proxy", 5060, "sip_proxy", "Request Sent")))
    (row,) = registries.when(ami("Registry", **live, Status="Registered")).then().values()
    assert (row.account, row.state, row.refresh, row.domain_port) == ("2345@sip_proxy:5060", "Registered", 120, 5060)
    two = [entry("sip_proxy", 5060, "sip_proxy", "Registered"), entry("sip_proxy", 5061, "sip_proxy", "Request Sent")]
    registries.when(listing("SIPshowregistry", *two))
    rows = registries.when(ami("Registry", **live, Status="Timeout")).then()
    assert {row.account: row.state for row in rows.values()} == {
        "2345@sip_proxy:5060": "Registered",
        "2345@sip_proxy:5061": "Request Sent",
    }
    named = listing("SIPshowregistry", entry("10.0.0.1", 5080, "example.org", "Registered"))
    (row,) = registries.when(named).then().values()
    assert (row.account, row.host, row.port, row.domain) == ("2345@example.org:5060", "10.0.0.1", 5080, "example.org")


def test_iax_and_pjsip_events_identify_their_account() -> None:
    registries = FoldSpec(REGISTRIES)
    iax = {"Username": "iaxpeer1", "State": "Registered", "Refresh": 60}
    uris = {"ClientUri": "sip:lab@127.0.0.4:5080", "ServerUri": "sip:127.0.0.4:5080"}
    uses = {"ObjectName": "provider", "Status": "Unregistered", "Expiration": 60}
    registries.when(
        listing("IAXregistry", ami("RegistryEntry", Host="127.0.0.1:4569", **iax)),
        listing("PJSIPShowRegistrationsOutbound", ami("OutboundRegistrationDetail", **uris, **uses)),
    )
    live = ami("Registry", ChannelType="PJSIP", Username=uris["ClientUri"], Domain=uris["ServerUri"], Status="Rejected")
    rows = registries.when(
        live, ami("Registry", ChannelType="IAX2", Username="iaxpeer1", Domain="127.0.0.1:4569", Status="Timeout")
    ).then()
    assert {row.account: (row.channel_type, row.state) for row in rows.values()} == {
        "iaxpeer1@127.0.0.1:4569": ("IAX2", "Timeout"),
        "lab@127.0.0.4:5080": ("PJSIP", "Rejected"),
    }
    assert len(registries.when(listing("SIPshowregistry")).then()) == 2
    assert registries.when(listing("IAXregistry"), listing("PJSIPShowRegistrationsOutbound")).then() == {}
