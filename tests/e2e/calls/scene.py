"""One scene: real calls at a running Asterisk, and the stories that follow from them."""

import contextlib
import re
from typing import Any

import msgspec

from schemas.calls import Call
from tests.e2e.asterisk import Asterisk
from tests.e2e.calls.story import Persons, Story, check_sound, story_of
from tests.e2e.ledger import Ledger
from tests.e2e.phone import Call as Line
from tests.e2e.phone import Phone
from tests.e2e.stories import connect_phones
from tests.e2e.truth import CHANNELS
from tests.support.polling import NotYetError, eventually, present

IDS = "SELECT linkedid FROM model.calls WHERE pbx = $1 AND is_told AND number > $2 ORDER BY number"
ACTIVE = re.compile(r"(\d+) active calls?$")


class Scene:
    """The calls at one PBX since a position of the log.

    `lasting` and `story` return the only call of the scene. `calls` returns them all.
    """

    def __init__(self, asterisk: Asterisk, ledger: Ledger, position: int, pbx: str = "pbx") -> None:
        self.asterisk, self.ledger, self.pbx = asterisk, ledger, pbx
        self._position = position

    async def phone(self, user: str) -> Phone:
        return await self.asterisk.phone(user)

    async def phones(self, *users: str) -> list[Phone]:
        return [await self.asterisk.phone(user) for user in users]

    async def connect(self, caller: str, called: str) -> tuple[Line, Line]:
        """Let one phone call another and the other answer; return both ends, which are in one bridge."""
        return await connect_phones(self.asterisk, caller, called)

    async def wait_talk(self, *persons: str) -> None:
        """Wait until exactly these persons talk with each other, in any call that lasts."""

        async def talk() -> bool:
            lasting = [call for call in await self.calls() if call.state != "ended"]
            talks = [(Persons(call), one) for call in lasting for one in call.conversations if one.ended_at is None]
            return {*persons} in [{*map(names.name, one.parties)} for names, one in talks]

        await eventually(talk, f"{' and '.join(persons)} talk")

    async def wait_state(self, state: str) -> None:
        """Wait until the only call has this state."""

        async def there() -> bool:
            return [call.state for call in await self.calls()] == [state]

        await eventually(there, f"the call's state is {state}")

    async def wait_transfers(self, number: int) -> None:
        """Wait until the calls have this number of transfers."""

        async def there() -> bool:
            return sum(len(call.transfers) for call in await self.calls()) == number

        await eventually(there, f"there are {number} transfers")

    async def calls(self) -> list[Call]:
        """Return the calls of the scene, the oldest first; all earlier events are folded."""
        await self.ledger.caught_up(self.asterisk)
        rows = await self.ledger.rows(IDS, self.pbx, self._position)
        return [await self.call(row["linkedid"]) for row in rows]

    async def call(self, unique_id: str) -> Call:
        """Return the call of an id."""
        async with self.ledger.client.get(f"/v1/calls/{unique_id}", params={"pbx": self.pbx}) as reply:
            assert reply.status == 200, f"{unique_id}: {reply.status} {await reply.text()}"
            return msgspec.json.decode(await reply.read(), type=Call)

    async def wait_story(self, story: Story) -> None:
        """Wait until the only call, which lasts, has this story. Asterisk may answer a phone before its events."""
        stories: list[Story] = []

        async def there() -> bool:
            stories.append(await self.lasting())
            return stories[-1] == story

        with contextlib.suppress(NotYetError):
            await eventually(there, "the call has its story")
        assert stories[-1] == story

    async def lasting(self) -> Story:
        """Return the story of the only call that lasts; its channels are those of the CLI."""

        async def agreed() -> Call | None:
            before = await CHANNELS.asterisk(self.asterisk)
            calls = await self.calls()
            if before != await CHANNELS.asterisk(self.asterisk):
                return None
            lasting = [call for call in calls if call.state != "ended"]
            return lasting[0] if len(lasting) == 1 and open_channels(lasting) == channels_of(before) else None

        call = await present(agreed, "the call's channels are those of the CLI")
        return story_of(call)

    async def story(self) -> Story:
        """Wait until the only call has ended, and return its story."""
        (call,) = await self.ended()
        return story_of(call)

    async def ended(self, number: int = 1) -> list[Call]:
        """Wait until the number of calls has ended, and return them, the oldest first. Every id of a call finds it."""

        async def over() -> list[Call] | None:
            calls = await self.calls()
            return calls if len(calls) == number and all(call.state == "ended" for call in calls) else None

        await self.asterisk.wait_idle()
        calls = await present(over, f"the {number} calls of the scene have ended")
        for call in calls:
            check_sound(call)
            for unique_id in (*call.aliases, *(leg.unique_id for leg in call.legs)):
                assert (await self.call(unique_id)).linkedid == call.linkedid, unique_id
        return calls


async def active_calls(asterisk: Asterisk) -> int:
    """Return the number of ``core show calls``: the channels that run the dialplan."""
    (number,) = [int(match[1]) for line in await asterisk.cli("core show calls") if (match := ACTIVE.match(line))]
    return number


def open_channels(calls: list[Call]) -> set[str]:
    """Return the channels of calls that are up."""
    return {leg.unique_id for call in calls for leg in call.legs if leg.ended_at is None}


def channels_of(rows: dict[str, tuple[Any, ...]]) -> set[str]:
    """Return the unique ids that the CLI lists, without the channel of text messages, which never ends."""
    return {unique_id for unique_id, row in rows.items() if not row[0].startswith("Message/")}
