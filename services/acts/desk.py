"""What an act has at hand that is more than one action: it reads, writes, looks again, and tells the log."""

import asyncpg
from msgspec import Struct

from services.ami.session import Session
from services.configuration.told import Told


class Desk(Struct, frozen=True):
    """The PBX, the database connection that holds the commander's lock, and what the log says of the files."""

    session: Session
    connection: asyncpg.Connection
    told: Told
