"""The cursor of a page of calls: the place of its last call in the order, newest start first.

A page continues after that place, so calls that begin meanwhile neither repeat nor hide one.
"""

import base64
import binascii
import re
from datetime import datetime

from msgspec import Struct

from api.http.errors import ApiError
from services.log.times import from_microseconds, to_microseconds

PLACE = re.compile(rb"(-?[0-9]{1,18})\.([0-9]{1,18})")


class Place(Struct, frozen=True):
    """The place of a call in the order of calls."""

    started_at: datetime
    number: int

    @property
    def cursor(self) -> str:
        """The text that clients send back."""
        text = b"%d.%d" % (to_microseconds(self.started_at), self.number)
        return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def parse_cursor(text: str) -> Place:
    """Return the place of a cursor. Raises ApiError 400."""
    try:
        match = PLACE.fullmatch(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True))
        if match is not None:
            return Place(from_microseconds(int(match[1])), int(match[2]))
    except (ValueError, OverflowError, binascii.Error):
        pass
    raise ApiError(400, "cursor: the next of a page")
