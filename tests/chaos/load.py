"""Calls, so that there is something to lose: Local channels, phones, queues, agents, parking; and a still life of them.

The driver talks to Asterisk directly, not through the tee. Choices are seeded; what Asterisk makes of them is its own.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from services.runtime.tasks import run_until_first
from tests.e2e.ami import AmiError
from tests.e2e.asterisk import Asterisk
from tests.e2e.phone import Call, Phone
from tests.support.polling import eventually

WORKERS = 6
BURST = 40
REGISTER_SECONDS = 40
MEMBERS = ("100", "101", "102")
MEMBER = {"Queue": "support", "Interface": "PJSIP/109"}
AGENTS = {"103": "1001", "104": "1002"}
CALLERS = (("105", "106"), ("107", "108"))


class Load:
    """Calls without end, from `start` to `end`; ``made`` counts what was done."""

    def __init__(self, asterisk: Asterisk, dice: random.Random) -> None:
        self.made: Counter[str] = Counter()
        self._asterisk = asterisk
        self._dice = dice
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, *more: Coroutine[Any, Any, None]) -> None:
        """Begin; ``more`` runs as long as the calls do."""
        phones = [
            await self._asterisk.phone(user) for user in (*MEMBERS, *AGENTS, *(u for pair in CALLERS for u in pair))
        ]
        await self.agents()
        bodies = [self._work() for _ in range(WORKERS)]
        bodies += [self._pick_up(phone) for phone in phones if phone.user not in AGENTS]
        bodies += [self._between(*pair) for pair in CALLERS]
        bodies += [self._stay(phone) for phone in phones]
        self._tasks = [asyncio.create_task(body) for body in [*bodies, *more]]

    def check(self) -> None:
        """Raise what a part of it died of."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def end(self) -> None:
        """Start no more calls; those that are up stay, the queue's member goes."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        with contextlib.suppress(AmiError):  # it was not there
            await self._asterisk.ami.act("QueueRemove", **MEMBER)

    async def silence(self) -> None:
        """Hang up everything, and wait until there is no channel, and no phone that remembers one."""

        async def no_channels() -> bool:
            await self._asterisk.cli("channel request hangup all")
            lines = await self._asterisk.cli("core show channels concise")
            return not [line for line in lines if line and not line.startswith("Message/")]

        await eventually(no_channels, "no channel is left")
        for phone in self._asterisk.phones.values():
            for call in list(phone.calls.values()):
                call.end()
            while not phone._rings.empty():
                phone._rings.get_nowait()

    async def agents(self) -> None:
        for user, agent in AGENTS.items():
            await (await self._asterisk.phone(user)).call(f"22{agent}").up()

    async def still_life(self) -> None:
        """Leave calls of each kind as they are: talking, waiting, parked, held, and agents who wait for them."""
        await self.agents()
        phones = [await self._asterisk.phone(user) for pair in CALLERS for user in pair]
        talking = phones[0].call(phones[1].user)
        (await phones[1].rung()).answer()
        await (await talking.up()).hold()
        await phones[2].call("204").up()
        await phones[3].call("700").up()
        await self._originate("Local/answer@local", 120)

    async def _originate(self, channel: str, hold: float) -> None:
        await self._asterisk.ami.act(
            "Originate",
            Channel=channel,
            Context="local",
            Exten="answer",
            Priority="1",
            CallerID=f"Zoë Zimmer <{self._dice.randrange(10**6, 10**7)}>",
            Variable=f"__HOLD={hold:.2f}",
            Async="true",
        )

    async def _work(self) -> None:
        activities, weights = zip(*ACTIVITIES, strict=True)
        while True:
            activity = self._dice.choices(activities, weights)[0]
            await activity(self)
            self.made[activity.__name__] += 1
            await asyncio.sleep(self._dice.uniform(0.1, 1.0))

    async def _pick_up(self, phone: Phone) -> None:
        while True:
            try:
                call = await phone.rung()
            except TimeoutError:
                continue
            await asyncio.sleep(self._dice.uniform(0, 1.0))
            if call.ended.is_set():
                continue
            if self._dice.random() < 0.15:
                call.refuse()
            else:
                call.answer()
                self.made["answered"] += 1
                await asyncio.sleep(self._dice.uniform(0.5, 3.0))
                await hang_up(call)

    async def _stay(self, phone: Phone) -> None:
        while True:
            await asyncio.sleep(REGISTER_SECONDS)
            await phone.register()

    async def _between(self, caller: str, called: str) -> None:
        phone = self._asterisk.phones[caller]
        while True:
            call = phone.call(called)
            await run_until_first(call.answered.wait(), call.ended.wait(), asyncio.sleep(10))
            await asyncio.sleep(self._dice.uniform(0.2, 3.0))
            await hang_up(call)
            self.made["between phones"] += 1
            await asyncio.sleep(self._dice.uniform(0.2, 2.0))


async def hang_up(call: Call) -> None:
    try:
        await call.hang_up()
    except TimeoutError:  # it was answered the moment we gave up
        await call.hang_up()


async def plain(load: Load) -> None:
    await load._originate("Local/answer@local", load._dice.uniform(0.05, 2.0))


async def burst(load: Load) -> None:
    for _ in range(BURST):
        await load._originate("Local/answer@local", 0.05)


async def queued(load: Load) -> None:
    queue = load._dice.choice(("200", "202", "203", "204"))
    await load._originate(f"Local/{queue}@internal/n", load._dice.uniform(1.0, 6.0))


async def parked(load: Load) -> None:
    await load._originate("Local/700@internal/n", load._dice.uniform(2.0, 5.0))
    await asyncio.sleep(load._dice.uniform(0.2, 2.0))
    await load._originate("Local/701@internal/n", 1.0)


async def refused(load: Load) -> None:
    await load._originate(f"Local/{load._dice.choice(('500', '501', '534', '999'))}@internal/n", 1.0)


async def members(load: Load) -> None:
    """Members come, pause and go; another may have been quicker."""
    act = load._asterisk.ami.act
    try:
        await act("QueueAdd", **MEMBER, MemberName="Jack Jones", Penalty=str(load._dice.randrange(4)))
        await act("QueuePause", **MEMBER, Paused="true", Reason='lunch, "long"; x=1')
        await asyncio.sleep(load._dice.uniform(0.1, 1.0))
        await act("QueueRemove", **MEMBER)
    except AmiError:
        load.made["member not there"] += 1


async def send_message(load: Load) -> None:
    """Words that are easy to get wrong: letters of several bytes, an empty value, a secret that must not be kept."""
    headers = {"Note": "Grüße: ☎", "Empty": "", "Password": "very-secret", "Last": "x"}
    await load._asterisk.ami.act("UserEvent", UserEvent="Words", **headers)


ACTIVITIES: tuple[tuple[Callable[[Load], Awaitable[None]], int], ...] = (
    *((plain, 8), (burst, 1), (queued, 6), (parked, 2), (refused, 2), (members, 2), (send_message, 2)),
)
