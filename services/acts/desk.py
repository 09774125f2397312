"""What an act has at hand that is more than one action: it reads, writes, looks again, and tells the log."""

from msgspec import Struct

from services.ami.session import Session
from services.configuration.told import Told
from services.one_at_a_time import OneAtATime


class Desk(Struct, frozen=True):
    """The PBX, the database connection that holds the commander's lock, and what the log says of the files."""

    session: Session
    connection: OneAtATime
    told: Told
