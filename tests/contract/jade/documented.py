"""The documented response of each row, or of the row that it resembles."""

from typing import Any

from tests.contract import shapes

BARE = {"api_ver": "string", "statuscode": "integer", "timestamp": "timestamp"}
REGISTRATION = (
    *("object_type", "object_name", "status", "server_uri", "client_uri", "max_retries", "retry_interval"),
    *("fatal_retry_interval", "forbidden_retry_interval", "auth_rejection_permanent", "support_path", "expiration"),
    *("line", "transport", "contact_user", "endpoint", "outbound_auth", "outbound_proxy", "next_reg", "tm_update"),
)
INFERRED: dict[str, Any] = {
    "jade.pjsip.registration_outbounds": dict.fromkeys(REGISTRATION, "any"),
    "jade.user.permissions": {"uuid": "string", "user_uuid": "string", "permission": "string"},
    "jade.manager.trunks": {"name": "string"},
}
"""Items of resources that are headed only and like no documented one: members as the original has them."""


def shape(row: str) -> tuple[Any, frozenset[str]]:
    """Return what the row answers, and which members of it may be missing."""
    family, _, what = row.rpartition(".")
    like = shapes()["_meta"]["inferred_like"]
    if row in shapes() or row in like:
        documented_shape = shapes()[row if row in shapes() else like[row]]
        return documented_shape["response"], frozenset(documented_shape.get("optional", ()))
    items = [INFERRED[family]] if family in INFERRED else shape(f"{family}.list")[0]["result"]["list"]
    return BARE | {"result": {"list": items} if what == "list" else items[0]}, frozenset()
