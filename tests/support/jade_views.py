"""The documented lists of jade, and the views that serve them."""

import re
from typing import Any

from api.http.views.view import View
from tests.contract import operations


def views_of(handler: Any) -> set[View]:
    """Return the views in a handler, including those inside its wrappers."""
    contents = [cell.cell_contents for cell in getattr(handler, "__closure__", None) or ()]
    views = {id(cell): cell for cell in contents if isinstance(cell, View)}
    return set(views.values()).union(*(views_of(cell) for cell in contents if callable(cell)))


FAMILIES = r"jade\.(agents|device_states|peers|registries|core|pjsip|queue|park)\."
LATER = r"\.(configurations|cfg_queues|cfg_parkinglots)\."
READING = [
    o for o in operations().values() if o.method == "GET" and re.match(FAMILIES, o.id) and not re.search(LATER, o.id)
]
LISTS = [o.id for o in READING if o.id.endswith(".list")]
TICKING = {"duration", "wait", "parking_duration", "parking_timeout"}
