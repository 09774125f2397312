"""A PBX that executes the commander's actions, and sends the events of Asterisk 22."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from typing import Any

from schemas.log import RingledgerEvent, SnapshotCompleted, SnapshotListed, SnapshotStarted
from tests.contract.jade.files import OBJECTS, Files
from tests.support.fake_ami import FakeAmi, block

HOUSEKEEPING = {"Challenge", "Login", "Logoff", "Ping"}
LOOKING = {"GetConfig", "ModuleCheck", "Parkinglots", "QueueStatus", "ShowDialPlan", *OBJECTS}
EPOCHS = itertools.count(int(time.time()))


class FakePbx(FakeAmi):
    """It hangs up channels, loads and unloads modules, and writes files; ``hear`` appends its events to the log.

    While ``refuses`` is set, every action is answered with these words.
    """

    def __init__(self, name: str, hear: Callable[..., Awaitable[Any]]) -> None:
        super().__init__()
        self.name = name
        self.channels: dict[str, str] = {}
        self.modules: set[str] = set()
        self.loadable: set[str] = set()
        self.refuses = ""
        self._hear = hear
        self._turn = asyncio.Lock()
        self._saying: set[asyncio.Task[Any]] = set()
        self.config = Files()
        self.replies |= self.config.replies
        self.replies |= {
            "Hangup": self._hangup,
            "ModuleLoad": self._module,
            "ModuleCheck": self._checked,
            "Reload": self._reloaded,
        }

    def _answer(self, headers: dict[str, str], writer: asyncio.StreamWriter) -> None:
        if self.refuses and headers["Action"] not in HOUSEKEEPING:
            number = f"ActionID: {headers['ActionID']}"
            writer.write(block("Response: Error", number, f"Message: {self.refuses}"))
        else:
            super()._answer(headers, writer)

    @property
    def asked_for(self) -> list[dict[str, str]]:
        """The actions received, without logins, pings and requests for state."""
        return [headers for headers in self.actions if headers["Action"] not in HOUSEKEEPING | LOOKING]

    def say(self, *lines: str) -> None:
        """Say it in an event."""
        name, *rest = lines
        self._tell(block(f"Event: {name}", "Privilege: all,all", f"Timestamp: {time.time():.6f}", *rest))

    def _tell(self, *events: bytes | RingledgerEvent) -> None:
        async def telling() -> None:
            async with self._turn:  # in the order of the events
                await self._hear(*events)

        self._saying.add(asyncio.create_task(telling()))

    async def flush(self) -> None:
        """Wait until all its events are in the log. Raises the error of an append."""
        while self._saying:
            done, self._saying = self._saying, set()
            await asyncio.gather(*done)

    def _hangup(self, headers: dict[str, str]) -> bytes:
        number, channel = f"ActionID: {headers['ActionID']}", headers["Channel"]
        unique_id = self.channels.pop(channel, None)
        if unique_id is None:
            return block("Response: Error", number, "Message: No such channel")
        self.say(
            "Hangup",
            f"Channel: {channel}",
            f"Uniqueid: {unique_id}",
            f"Linkedid: {unique_id}",
            "Cause: 16",
            "Cause-txt: Normal Clearing",
        )
        return block("Response: Success", number, "Message: Channel Hungup")

    def _module(self, headers: dict[str, str]) -> bytes:
        number, module = f"ActionID: {headers['ActionID']}", headers["Module"].removesuffix(".so")
        what = headers["LoadType"]
        if what == "load":
            return self._load(number, module)
        if module not in self.modules:
            words = "No such module." if what == "reload" else "Could not unload module."
            return block("Response: Error", number, f"Message: {words}")
        if what == "unload":
            self.modules.remove(module)
            self.say("Unload", f"Module: {module}.so", "Status: Success")
            return block("Response: Success", number, "Message: Module unloaded.")
        self.say("Reload", f"Module: {module}.so", "Status: 0")
        return block("Response: Success", number, "Message: Module reloaded.")

    def _load(self, number: str, module: str) -> bytes:
        if module in self.modules or module not in self.loadable:
            return block("Response: Error", number, "Message: Could not load module.")
        self.modules.add(module)
        self.say("Load", f"Module: {module}.so", "Status: Success")
        return block("Response: Success", number, "Message: Module loaded.")

    def _checked(self, headers: dict[str, str]) -> bytes:
        number = f"ActionID: {headers['ActionID']}"
        if headers["Module"].removesuffix(".so") in self.modules:
            return block("Response: Success", number, "Version: ")
        return block("Response: Error", number, "Message: Module not loaded")

    def _reloaded(self, headers: dict[str, str]) -> bytes:
        number, module = f"ActionID: {headers['ActionID']}", headers["Module"]
        self.say("Reload", f"Module: {module}", "Status: 0")
        if module == "res_parking.so":
            self._list_lots()
        return block("Response: Success", number, "Message: Module Reloaded")

    def _list_lots(self) -> None:
        """Tell all lots, as the snapshot does that our listener takes after a reload."""
        epoch = next(EPOCHS)
        number = f"ActionID: ringledger/{epoch}/Parkinglots"
        items = [
            block("Event: Parkinglot", number, *(f"{name}: {value}" for name, value in lot.items()))
            for lot in self.config.lots()
        ]
        listed = SnapshotListed(epoch, "Parkinglots", "complete")
        self._tell(SnapshotStarted(epoch), *items, listed, SnapshotCompleted(epoch))
