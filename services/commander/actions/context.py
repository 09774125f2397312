"""What an act has at hand that is more than one action: it reads, writes, looks again, and tells the log."""

from msgspec import Struct

from services.asterisk.ami.session import Session
from services.commander.config_log import Told
from services.database.pool import Fetch


class Desk(Struct, frozen=True):
    """The PBX, a way to ask the database, and what the log says of the files."""

    session: Session
    ask: Fetch
    told: Told
