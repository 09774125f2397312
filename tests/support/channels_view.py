"""Events of channels, and the view of channels at a position."""

import asyncio
import time
from typing import Any

from aiohttp import ClientResponse

from api.app_keys import CHECKPOINTS
from tests.support.api_client import Client

CHANNELS_VIEW = "/v1/admin/core/channels"


def newchannel(unique_id: str, **headers: str) -> bytes:
    more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return (
        f"Event: Newchannel\r\nTimestamp: {time.time():.6f}\r\nChannel: PJSIP/100-0000000a\r\nChannelState: 4\r\n"
        f"Uniqueid: {unique_id}\r\nLinkedid: {unique_id}\r\n{more}\r\n"
    ).encode()


def varset(unique_id: str, name: str, value: str) -> bytes:
    return f"Event: VarSet\r\nUniqueid: {unique_id}\r\nVariable: {name}\r\nValue: {value}\r\n\r\n".encode()


FULLY_BOOTED = b"Event: FullyBooted\r\nStatus: Fully Booted\r\n\r\n"


async def get_at(client: Client, position: int, path: str = CHANNELS_VIEW) -> ClientResponse:
    """Return the first response at this position or later."""
    async with asyncio.timeout(300):
        while True:
            await client.app[CHECKPOINTS].refresh()
            reply = await client.get(path)
            if int(reply.headers["X-Ledger-Position"]) >= position:
                return reply


async def items_of(reply: ClientResponse) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = (await reply.json())["result"]["list"]
    return result


def hangup(unique_id: str) -> bytes:
    return f"Event: Hangup\r\nUniqueid: {unique_id}\r\nChannel: PJSIP/100-0000000a\r\nCause: 16\r\n\r\n".encode()
