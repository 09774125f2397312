"""The command ``serve``: how it refuses an address."""

import asyncio
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SECONDS = 300.0


@contextmanager
def taken_port() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield f"127.0.0.1:{taken.getsockname()[1]}"


async def refusal(url: str, data: Path, address: str) -> tuple[int | None, list[str]]:
    """Run ``serve``, and return its exit code with the lines that are not the log's."""
    rest = {name: value for name, value in os.environ.items() if not name.startswith("RINGLEDGER_")}
    settings = {"RINGLEDGER_DATABASE_URL": url, "RINGLEDGER_DATA": str(data), "RINGLEDGER_HTTP": address}
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).parent / "ringledger", "serve", env=rest | settings, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(SECONDS):
            _, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode, [line for line in err.decode().splitlines() if not line.startswith("{")]


async def test_serve_names_a_port_that_is_taken(url: str, tmp_path: Path) -> None:
    with taken_port() as address:
        code, lines = await refusal(url, tmp_path, address)
    assert (code, lines) == (2, [f"ringledger: RINGLEDGER_HTTP: {address} is in use by another program"])


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("192.0.2.1:8081", "Cannot assign requested address"),
        ("nosuchhost.invalid:8081", ""),
        ("[2001:db8::1]:8081", "Cannot assign requested address"),
    ],
)
async def test_serve_names_an_address_of_another_machine(url: str, tmp_path: Path, address: str, words: str) -> None:
    code, lines = await refusal(url, tmp_path, address)
    assert code == 2
    (line,) = lines
    assert line.startswith(f"ringledger: RINGLEDGER_HTTP: cannot listen at {address}: {words}")
