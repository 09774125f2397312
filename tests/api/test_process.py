"""The command ``serve``: how it refuses an address."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.program import environment, run_program


@contextmanager
def taken_port() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield f"127.0.0.1:{taken.getsockname()[1]}"


async def refusal(url: str, data: Path, address: str) -> tuple[int, list[str]]:
    """Run ``serve``, and return its exit code with the lines that are not the log's."""
    code, _, err = await run_program("serve", environ=environment(url, data, RINGLEDGER_HTTP=address))
    return code, [line for line in err.splitlines() if not line.startswith("{")]


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
