"""The rows of a fold, printed as Asterisk's CLI prints them."""

from collections.abc import Callable

from tests.support import cli_text
from tests.support.folding import FoldSpec

ANSWER_SECONDS = 0.03
"""The CLI answered a command within this time; the next command came at least 13 ms after that."""


def expected_text(command: str, output: str) -> str:
    return cli_text.parking_lines(output) if command.startswith("parking") else cli_text.comparable(output)


def print_rows(tables: FoldSpec, command: str, now: int, ahead: float = 0.0) -> str:
    prints: dict[str, Callable[[], str]] = {
        "queue show": lambda: cli_text.comparable(cli_text.queue_show(tables, now, ahead)),
        "agent show all": lambda: cli_text.comparable(cli_text.agent_show_all(tables)),
        "parking show default": lambda: cli_text.parking_show(tables, "default"),
    }
    return prints[command]()
