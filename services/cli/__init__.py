"""The command line program ``ringledger``. The order of the imports is that of ``ringledger --help``."""

from services.cli import processes, ledger, retention, files, models, calls, report, status  # isort: skip
from services.cli.options import app

__all__ = ["calls", "files", "ledger", "main", "models", "processes", "report", "retention", "status"]


def main() -> None:
    """Run the command line."""
    app()
