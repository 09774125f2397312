"""The limits of connections, and the files that this process may open."""

import resource

import structlog
from msgspec import Struct

UNLIMITED_FILES = 1 << 20

logger = structlog.get_logger()


class Limits(Struct, frozen=True):
    """Seconds that the server waits for a client, the most connections, and the files that this process may open."""

    files: int
    headers_seconds: float = 15.0
    body_seconds: float = 30.0
    stall_seconds: float = 30.0
    max_connections: int = 8192

    @property
    def reserve(self) -> int:
        """Files for all but connections, and for connections that are accepted before idle ones have been closed."""
        return min(128, self.files // 4)

    @property
    def last_files(self) -> int:
        """If fewer files are left, a connection is closed without a response."""
        return self.reserve // 8

    @property
    def connections(self) -> int:
        """The maximum number of connections."""
        return min(self.max_connections, self.files - self.reserve)

    @property
    def per_client(self) -> int:
        """The most connections of one address, and the most requests of one client behind trusted proxies."""
        return min(1024, self.connections // 4)


def raise_file_limit() -> None:
    """Raise the soft limit of open files to the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError) as error:  # Linux refuses "unlimited".
        logger.warning("file_limit_not_raised", soft=soft, hard=hard, error=repr(error))


def file_limit() -> int:
    """Return how many files this process may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return UNLIMITED_FILES if soft == resource.RLIM_INFINITY else soft
