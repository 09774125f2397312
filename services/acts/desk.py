"""What an act has at hand that is more than one action: it reads, writes, looks again, and tells the log."""

from msgspec import Struct

from services.ami.session import Session
from services.configuration.secrets import Ask
from services.configuration.told import Told


class Desk(Struct, frozen=True):
    """The PBX, a way to ask the database, and what the log says of the files."""

    session: Session
    ask: Ask
    told: Told
