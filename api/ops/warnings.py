"""Warnings about a PBX, in sentences: refused logins, refused lists, and a commander without a link."""

import asyncio
from collections.abc import Mapping
from typing import Any

import asyncpg

from projections.pbx.links import refused_lists
from schemas.refusals import refused_list, refused_login
from services.database.errors import UNREACHABLE
from services.database.pool import Pool
from services.log.listener_link import COMMANDER_TTL_SECONDS, COMMANDERS, trouble_of
from services.projector.checkpoints.checkpoints import LinkStatus

ANSWER_SECONDS = 1.0


def reasons(links: Mapping[str, LinkStatus], users: Mapping[str, str]) -> list[str]:
    """Return why views are not up to date: Asterisk refuses the login of a listener, which then receives nothing.

    ``users`` are the AMI users of the settings, by PBX.
    """
    return [
        f"PBX {pbx}: {refused_login(link.refused, users.get(pbx, ''))}" for pbx, link in links.items() if link.refused
    ]


def warnings(links: Mapping[str, LinkStatus]) -> list[str]:
    """Return faults that do not keep views from being served."""
    return [
        f"PBX {pbx}: {refused_list(action, words)}"
        for pbx, link in links.items()
        for action, words in refused_lists(link.failed).items()
    ]


def link_json(link: LinkStatus, *, is_listened_to: bool = True) -> dict[str, Any]:
    """Return a link as `/readyz` shows it: it is down without its listener."""
    refused = refused_lists(link.failed)
    return {"state": link.state if is_listened_to else "down", "healed": link.healed} | (
        {"refused_lists": refused} if refused else {}
    )


async def commander_warnings(pool: Pool, links: Mapping[str, LinkStatus]) -> list[str]:
    """Return which PBXes no act can reach, and why; nothing if PostgreSQL does not answer within a second.

    A commander waits for the login of its listener: while Asterisk refuses that, its own trouble is of the past.
    """
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            rows = await pool.fetch(COMMANDERS)
    except (*UNREACHABLE, asyncpg.PostgresError) as error:
        pool.outage.fail(error, asked="commanders")
        return []
    refused = {pbx for pbx, link in links.items() if link.refused}
    return [
        f"PBX {row['pbx']}: {trouble_of(row['link'], row['trouble'])}"
        for row in rows
        if row["trouble"] and row["age"] <= COMMANDER_TTL_SECONDS and row["pbx"] not in refused
    ]
