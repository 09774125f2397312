"""`ringledger listen` as a process."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from tests.support.event_log import EventLog
from tests.support.fake_ami import FakeAmi, block
from tests.support.polling import eventually

SPOOL_MB = "RINGLEDGER_SPOOL_MB"
# Run as `ringledger listen`, without the program's path.
LISTEN = [sys.executable, "-c", "from services.cli import main; main()", "listen"]


class ListenerProcess:
    """`ringledger listen` as a process."""

    def __init__(self, url: str, pbx: FakeAmi, folder: Path) -> None:
        self.log = folder / "log"
        environment = {k: v for k, v in os.environ.items() if k == SPOOL_MB or not k.startswith("RINGLEDGER_")}
        environment |= {
            "RINGLEDGER_AMI": f"pbx=ami://lab:secret@127.0.0.1:{pbx.port}",
            "RINGLEDGER_DATABASE_URL": url,
            "RINGLEDGER_DATA": str(folder),
        }
        with self.log.open("wb") as stderr:
            self.process = subprocess.Popen(LISTEN, env=environment, stderr=stderr)

    async def stop(self) -> None:
        """Send SIGTERM, and wait until the process has ended with exit code 0."""
        self.process.send_signal(signal.SIGTERM)
        await eventually(lambda: self.process.poll() is not None)
        assert self.process.returncode == 0, self.log.read_text()

    def log_lines(self, event: str) -> list[dict[str, Any]]:
        lines = (msgspec.json.decode(line) for line in self.log.read_bytes().splitlines())
        return [line for line in lines if line["event"] == event]


@asynccontextmanager
async def listener_process(url: str, pbx: FakeAmi, folder: Path) -> AsyncIterator[ListenerProcess]:
    running = ListenerProcess(url, pbx, folder)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()


async def wait_connected(pbx: FakeAmi, url: str) -> None:
    await eventually(lambda: pbx.clients)
    pbx.send(block("Event: Newchannel", "Uniqueid: 1"))
    await EventLog(url).until(lambda names: "Newchannel" in names)
