"""The context of an act: the session, the database, and the log of configuration files."""

from msgspec import Struct

from services.asterisk.ami.session import Session
from services.commander.config_log import ConfigLog
from services.database.pool import Fetch


class ActionContext(Struct, frozen=True):
    """One PBX's ``session``, ``fetch`` for SQL, and the term's ``config_log``."""

    session: Session
    fetch: Fetch
    config_log: ConfigLog
