"""The content of a PBX's configuration files in the log: read over AMI, and recorded when it has changed."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import structlog

from schemas.configuration import FILES, ConfigurationRead, Section
from schemas.log import RingledgerEvent
from schemas.refusals import DENIED, refused_files
from services.asterisk.ami.actions import RefusedError
from services.asterisk.ami.protocol import LinkLostError
from services.asterisk.ami.session import Session
from services.asterisk.config import files
from services.asterisk.config.render import render
from services.asterisk.config.secrets import mask_sections
from services.database import secret_store
from services.database.pool import Fetch

POLL_SECONDS = 30.0
READ_TIMEOUT_SECONDS = 2.0

MODEL_EXISTS = "SELECT to_regclass('model.configurations') IS NOT NULL"
TEXT = "SELECT text FROM model.configurations WHERE pbx = $1 AND name = $2"

Append = Callable[[RingledgerEvent], Awaitable[None]]

logger = structlog.get_logger()


class ConfigLog:
    """The texts of one term. A text is appended only if it differs from the last one.

    ``trouble`` is an error message if Asterisk denies reading, because the AMI user lacks the class.
    """

    def __init__(self, pbx: str, fetch: Fetch, append: Append) -> None:
        self.trouble = ""
        self._pbx = pbx
        self._fetch = fetch
        self._append = append
        self._texts: dict[str, str] = {}
        self._session: Session | None = None
        self._due_at = 0.0

    async def record(self, file: str, sections: Sequence[Section]) -> str:
        """Append the content of a file if it has changed; return the text, which has no secrets."""
        text = render(mask_sections(sections))
        if self._texts.get(file) is None and (await self._fetch(MODEL_EXISTS))[0][0]:
            rows = await self._fetch(TEXT, self._pbx, file)
            self._texts[file] = rows[0]["text"] if rows else ""
        if self._texts.get(file) != text:
            await self._append(ConfigurationRead(file, text))
            self._texts[file] = text
        return text

    async def poll(self, session: Session | None) -> None:
        """Read all files over a new session, and every `POLL_SECONDS`, because people may edit them."""
        if session is None or (session is self._session and time.monotonic() < self._due_at):
            return
        is_new, self._session = session is not self._session, session
        self._due_at = time.monotonic() + POLL_SECONDS
        await secret_store.expire(self._fetch)
        refused: dict[str, str] = {}
        for file in FILES:
            try:
                async with asyncio.timeout(READ_TIMEOUT_SECONDS):
                    sections = await files.read(session, file)
            except RefusedError as error:
                refused[file] = str(error)
            except (LinkLostError, TimeoutError) as error:
                logger.warning("configuration_unread", pbx=self._pbx, file=file, error=repr(error))
                return
            else:
                if sections is not None:
                    await self.record(file, sections)
        denied = [file for file, message in refused.items() if DENIED in message]
        self.trouble = refused_files(denied) if denied else ""
        if refused and is_new:
            message = "; ".join(sorted(set(refused.values())))
            logger.warning("configuration_unreadable", pbx=self._pbx, files=[*refused], message=message)
