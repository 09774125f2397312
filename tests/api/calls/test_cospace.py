"""cospace's statistics of queues have the numbers of /v1/statistics where both count passages."""

from typing import Any

from tests.api.calls.conftest import Early, answer

DAY = "from=2026-11-22T00:00:00Z&to=2026-11-23T00:00:00Z"


async def test_both_statistics_have_the_same_numbers(early: Early) -> None:
    status, figures = await answer(early.client, f"/v1/statistics/queues?{DAY}")
    assert status == 200
    totals: dict[str, dict[str, Any]] = {total["name"]: total for total in figures["totals"]}
    for path in ("/api/statistics/2026-11-22", "/api/usage/2026-11", "/api/usage/2026-11?pbx=pbx"):
        queues = (await answer(early.client, path))[1]["result"]["queues"]
        assert queues.keys() == totals.keys() != set()
        for name, queue in queues.items():
            total = totals[name]
            for member in ("abandoned", "in_sla", "in_sla_percent"):
                assert queue[member] == total[member], (path, name, member)
            assert queue["sla_seconds"] == figures["sla_seconds"]
            assert queue["connected"] == total["answered"]
            refused = total["join_empty"] + total["full"] + total["closed"]
            assert queue["entered"] == total["received"] - refused
            average = round(queue["wait_seconds"] / queue["waits"], 6) if queue["waits"] else None
            assert average == total["wait_avg_seconds"]
    assert sum(total["answered"] for total in totals.values()) > 2
    assert sum(total["abandoned"] for total in totals.values()) > 1


async def test_a_queue_without_call_records_has_its_passages(early: Early) -> None:
    """Callers who wait have no Cdr yet, and an imported queue_log has none at all."""
    waiting = {}
    for position, answers in early.answers.items():
        path = f"/api/usage/2026-11?as_of={position}"
        status, body = await answer(early.client, path)
        queues = body["result"]["queues"] if status == 200 else {}
        for total in next(body["totals"] for path, (_, body) in answers.items() if "/statistics/" in path):
            assert queues[total["name"]]["abandoned"] == total["abandoned"]
            waiting[total["name"], queues[total["name"]]["calls"] == 0] = total["received"]
    assert any(is_without for _, is_without in waiting)
