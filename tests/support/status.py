"""Status responses and metrics of an API process."""

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.support.api_client import Client


async def get_json(client: Client, path: str, status: int = 200, **query: Any) -> dict[str, Any]:
    reply = await client.get(path, params=query)
    assert reply.status == status, await reply.text()
    body: dict[str, Any] = await reply.json()
    return body


INSERT_LISTENER = """
INSERT INTO ledger.listener (pbx, kind, holder, host, renewed, status) VALUES ($1, $2, $3, 'h', $4, $5)
"""
Series = dict[str, dict[tuple[str, ...], float]]


async def scrape(client: Client) -> Series:
    reply = await client.get("/metrics")
    assert (reply.status, reply.content_type) == (200, "text/plain")
    series: Series = {}
    for family in text_string_to_metric_families(await reply.text()):
        assert family.documentation
        for sample in family.samples:
            labels = tuple(value for _, value in sorted(sample.labels.items()))
            assert labels not in series.setdefault(sample.name, {})
            series[sample.name][labels] = sample.value
    return series
