"""`ringledger up` as a process, and its children."""

import asyncio
import contextlib
import os
import re
from pathlib import Path
from typing import Self

from tests.support.polling import eventually
from tests.support.ports import free_port
from tests.support.program import PROGRAM

CHILDREN = ("command", "demo", "listen", "project", "serve")


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Up:
    """One run of `up`; what it printed is in ``out`` and ``err``."""

    def __init__(self, data: Path, cwd: Path, *arguments: str, **environ: str) -> None:
        self.http = f"127.0.0.1:{free_port()}"
        self.data, self.cwd, self.arguments = data, cwd, arguments
        rest = {name: value for name, value in os.environ.items() if not name.startswith("RINGLEDGER_")}
        self.environ = rest | {"RINGLEDGER_DATA": str(data), "RINGLEDGER_HTTP": self.http} | environ
        self.out, self.err = data.parent / "out", data.parent / "err"
        self.process: asyncio.subprocess.Process

    async def __aenter__(self) -> Self:
        with self.out.open("w") as out, self.err.open("w") as err:
            self.process = await asyncio.create_subprocess_exec(
                PROGRAM, "up", *self.arguments, cwd=self.cwd, env=self.environ, stdout=out, stderr=err
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.terminate()
            async with asyncio.timeout(300):
                await self.process.wait()

    def children(self) -> dict[str, int]:
        """Process numbers by the command's name, found in the process tree, not by their names."""
        result: dict[str, int] = {}
        for pid in children_of(self.process.pid):
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
                name = "serve" if "api.process" in words else words[4] if "services.cli" in words else ""
                result[name] = pid
        return {name: pid for name, pid in result.items() if name in CHILDREN}

    async def printed(self, pattern: str) -> str:
        await eventually(
            lambda: re.search(pattern, self.out.read_text()) or self.process.returncode is not None, pattern
        )
        match = re.search(pattern, self.out.read_text())
        assert match, self.err.read_text()
        return match[1]


def has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True
