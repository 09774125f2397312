"""Cases from public reports: the rows equal the state of a real Asterisk 22 in each."""

from projections.calls.call_records import CALL_RECORDS
from projections.calls.statistics import STATISTICS
from projections.endpoints.peers import PEERS
from projections.queues.agents import AGENTS
from projections.queues.queue_entries import QUEUE_ENTRIES
from projections.queues.queues import QUEUES
from tests.projections.cases import Case


def test_a_transferred_caller_takes_the_legs_place() -> None:
    case = Case("transfer-into-queue", QUEUE_ENTRIES, QUEUES)
    (entry,) = case.after(3).then(QUEUE_ENTRIES).values()
    values = (entry.unique_id, entry.channel, entry.caller_id_num, entry.caller_id_name, entry.position)
    assert values == ("1795000000.1", "PJSIP/trunk-00000001", "5550101", "Ann Caller", 1)
    assert case.tables.then(QUEUES)["sales",].calls == 1
    tables = case.after()
    assert tables.then(QUEUE_ENTRIES) == {}
    queue = tables.then(QUEUES)["sales",]
    assert (queue.calls, queue.abandoned) == (0, 1)


def test_a_forwarded_leg_counts_for_its_member() -> None:
    case = Case("agent-of-forwarded-or-optimised-leg", CALL_RECORDS, STATISTICS)
    tables = case.after()
    day = [row for row in tables.then(STATISTICS).values() if row.period == "2026-11-18" and row.scope == "agent"]
    values = [(r.name, r.label, r.calls, r.answered, r.no_answer, r.talk_seconds) for r in day]
    assert values == [("PJSIP/101", "Bob Baker", 3, 2, 1, 60)]
    assert {record.agent for record in tables.then(CALL_RECORDS).values()} == {"PJSIP/101"}


def test_an_address_stays_while_a_contact_has_it() -> None:
    peer = Case("second-contact-same-address", PEERS).after().then(PEERS)["PJSIP/109",]
    assert (peer.address, peer.status) == ("192.0.2.9:5060", "Reachable")


def test_an_agents_login_moves_to_the_replacing_channel() -> None:
    agent = Case("agent-session-transferred", AGENTS).after().then(AGENTS)["1001",]
    assert (agent.status, agent.unique_id) == ("AGENT_IDLE", "1795000000.1")
