"""The program `ringledger` on a database, in a script and on a terminal."""

import asyncio
import os
import pty
import subprocess
import sys
from pathlib import Path

from msgspec import Struct

PROGRAM = Path(sys.executable).parent / "ringledger"


class Run(Struct):
    code: int
    out: str
    err: str


class Cli:
    """A database with a few calls, and the program."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def run(self, *arguments: str) -> Run:
        def run() -> Run:
            environ = {"PATH": os.environ["PATH"], "RINGLEDGER_DATABASE_URL": self.url}
            done = subprocess.run([PROGRAM, *arguments], env=environ, capture_output=True, text=True, check=False)
            return Run(done.returncode, done.stdout, done.stderr)

        return await asyncio.to_thread(run)

    async def on_terminal(self, *arguments: str) -> str:
        def run() -> str:
            terminal, program_end = pty.openpty()
            environ = {"PATH": os.environ["PATH"], "RINGLEDGER_DATABASE_URL": self.url, "COLUMNS": "90", "TERM": "dumb"}
            with subprocess.Popen(
                [PROGRAM, *arguments], env=environ, stdout=program_end, stderr=program_end
            ) as process:
                os.close(program_end)
                text = b""
                while True:
                    try:
                        text += os.read(terminal, 65536)
                    except OSError:  # the program has ended
                        break
                assert process.wait() == 0
            os.close(terminal)
            return text.decode()

        return await asyncio.to_thread(run)
