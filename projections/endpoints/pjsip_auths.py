"""PJSIP credentials, as in `pjsip show auths`, without the secrets, which are not in the log."""

from msgspec.structs import replace

from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.ami.pjsip import Auth


class AuthRow(Row):
    """One auth object; ``password`` and ``md5_cred`` are the log's mask where there is one, else empty.

    ``endpoint_name`` comes with AuthDetail: the last endpoint that was found to use it.
    """

    object_name: str
    object_type: str = "auth"
    username: str = ""
    auth_type: str = ""
    password: str = ""
    md5_cred: str = ""
    realm: str = ""
    nonce_lifetime: int = 0
    endpoint_name: str = ""


def by_name(e: Auth) -> Key | None:
    return (e.object_name,) if e.object_name else None


def apply_list_item(row: AuthRow | None, e: Auth) -> AuthRow:
    old = row or AuthRow(pbx=e.pbx, tm_update=e.at, object_name=e.object_name)
    return replace(
        old,
        object_type=e.object_type,
        username=e.username,
        auth_type=e.auth_type,
        password=e.password,
        md5_cred=e.md5_cred,
        realm=e.realm,
        nonce_lifetime=e.nonce_lifetime,
        endpoint_name=old.endpoint_name if e.endpoint_name is None else e.endpoint_name,
    )


PJSIP_AUTHS = ReadModel(
    name="pjsip_auths",
    version=1,
    row=AuthRow,
    key=("object_name",),
    on={"AuthList": Handler(Auth, by_name, apply_list_item), "AuthDetail": Handler(Auth, by_name, apply_list_item)},
    lists={"PJSIPShowAuths": None},
)
