"""An import of ledger files."""

from pathlib import Path

from services.transfer import import_ledger
from services.transfer.import_ledger import check_files


async def import_files(url: str, *files: Path) -> list[str]:
    return [output.partition(": ")[2] async for output in import_ledger.import_ledger(url, check_files(files))]
