"""The text that ``ringledger up`` prints when the API is ready."""

import asyncio
import time

from schemas.settings import Settings
from services.runtime.tasks import wait_event

READY_SECONDS = 30.0
RETRY_SECONDS = 0.1
AUTHTOKEN = r"""sed 's/.*"authtoken": *"\([^"]*\)".*/\1/'"""


async def print_when_ready(settings: Settings, text: str, stop: asyncio.Event) -> None:
    """Print the text once the API accepts connections, or after READY_SECONDS."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and not stop.is_set():
        try:
            _, writer = await asyncio.open_connection(_local_address(settings.http_host), settings.http_port)
        except OSError:
            await wait_event(stop, RETRY_SECONDS)
            continue
        writer.close()
        break
    print(text, flush=True)  # noqa: T201 (for the user at the terminal)


def _local_address(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (compared, not bound)


def banner(settings: Settings, password: str, speed: float) -> str:
    """Return the address, the login and first commands."""
    host = _local_address(settings.http_host)
    base = f"http://{f'[{host}]' if ':' in host else host}:{settings.http_port}"
    is_configured = bool(settings.admin_password)
    password_line = "(the one in RINGLEDGER_ADMIN_PASSWORD)" if is_configured else password
    password_argument = "$RINGLEDGER_ADMIN_PASSWORD" if is_configured else password
    if settings.ami:
        source = "Listening to " + ", ".join(f"{pbx.name} ({pbx.host}:{pbx.port})" for pbx in settings.ami)
    else:
        pace = "" if speed == 1 else f" at {speed:g} times its speed"
        source = (
            f"Playing a recording of an Asterisk 22{pace} in a loop: five minutes of simulated calls.\n"
            "To listen to your PBX, stop this, set RINGLEDGER_AMI=ami://user:secret@host:5038\n"
            "and RINGLEDGER_DATA to a new directory, and start it again."
        )
    return f"""
Ringledger is up at {base}
{source}

user: admin
password: {password_line}

log in:    TOKEN=$(curl -s -X POST -u "admin:{password_argument}" {base}/v1/admin/login | {AUTHTOKEN})
channels:  curl -s "{base}/v1/admin/core/channels?authtoken=$TOKEN"
data:      {settings.data.absolute() if not settings.database_url else "in the PostgreSQL of RINGLEDGER_DATABASE_URL"}
stop:      Ctrl-C
"""
