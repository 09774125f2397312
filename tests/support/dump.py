"""The database of an earlier version, commit 9b8a372, as a dump.

It holds a played recording, users, a contact, a chat, refused acts, imported lines of Master.csv and queue_log, two
rebuilt models and one redaction.
"""

import asyncio
import lzma
import subprocess
from pathlib import Path

from services.database.cluster import BIN

CAPTURES = Path(__file__).parents[1] / "captures"
DUMP = CAPTURES / "database-9b8a372.sql.xz"


async def load_dump(url: str) -> None:
    """Load the dump into an empty database."""
    options = ("--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--output=/dev/null")
    psql = await asyncio.create_subprocess_exec(BIN / "psql", *options, url, stdin=subprocess.PIPE)
    await psql.communicate(lzma.decompress(DUMP.read_bytes()))
    assert psql.returncode == 0
