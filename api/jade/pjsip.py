"""/admin/pjsip: aors, auths, contacts, registration_outbounds (seed 001:2385-2860, 3178).

`pjsip_endpoints` has the endpoints.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec.structs import asdict

from api.jade.resource import Resource
from api.stream.resources import StreamResource, as_viewed, segments_of, without
from projections.engine.step import StepFold
from schemas.secrets import MASK

AORS_SQL = """
SELECT pbx, object_name, object_type, endpoint_name, contacts, contacts_registered, total_contacts,
       authenticate_qualify, default_expiration, mailboxes, max_contacts, maximum_expiration, minimum_expiration,
       outbound_proxy, qualify_frequency, qualify_timeout, remove_existing, support_path, voicemail_extension, tm_update
FROM pjsip_aors
WHERE ($1::text IS NULL OR pbx = $1) AND ($2::text IS NULL OR object_name = $2)
ORDER BY pbx, object_name
"""

AUTHS_SQL = """
SELECT pbx, object_name, object_type, username, auth_type, realm, nonce_lifetime, endpoint_name, tm_update,
       password, md5_cred
FROM pjsip_auths
WHERE ($1::text IS NULL OR pbx = $1) AND ($2::text IS NULL OR object_name = $2)
ORDER BY pbx, object_name
"""

# The wire writes qualify_timout here, and as an integer (seed 001:2724).
CONTACTS_SQL = """
SELECT pbx, id, call_id, uri, aor, endpoint_name, status, qualify_frequency,
       qualify_timeout::bigint AS qualify_timout, authentication_qualify, outbound_proxy, path, reg_expire,
       round_trip_usec, user_agent, via_address, tm_update
FROM pjsip_contacts
WHERE ($1::text IS NULL OR pbx = $1) AND ($2::text IS NULL OR id = $2)
ORDER BY pbx, aor, uri
"""

REGISTRATIONS_SQL = """
SELECT pbx, object_name, object_type, status, server_uri, client_uri, max_retries, retry_interval,
       fatal_retry_interval, forbidden_retry_interval, auth_rejection_permanent, support_path, expiration, line,
       transport, contact_user, endpoint, outbound_auth, outbound_proxy, next_reg, tm_update
FROM pjsip_registrations
WHERE ($1::text IS NULL OR pbx = $1) AND ($2::text IS NULL OR object_name = $2)
ORDER BY pbx, object_name
"""


def auth(row: Mapping[str, Any], _now: datetime) -> dict[str, Any]:
    """Return an auth without its secrets. An empty value shows that there is none."""
    return {**row, "password": row["password"] and MASK, "md5_cred": row["md5_cred"] and MASK}


AORS = Resource("aors", AORS_SQL, ("pjsip_aors",))
AUTHS = Resource("auths", AUTHS_SQL, ("pjsip_auths",), auth)
CONTACTS = Resource("contacts", CONTACTS_SQL, ("pjsip_contacts",))
REGISTRATIONS = Resource("registration_outbounds", REGISTRATIONS_SQL, ("pjsip_registrations",))


def streamed_contact(row: Any, _at: datetime, _step: StepFold) -> dict[str, Any]:
    item = asdict(row)
    item["qualify_timout"] = round(item.pop("qualify_timeout"))
    return item


AOR_STREAM = StreamResource("pjsip.aor", "/pjsip/aors", "pjsip_aors", segments_of("object_name"), without())
AUTH_STREAM = StreamResource("pjsip.auth", "/pjsip/auths", "pjsip_auths", segments_of("object_name"), as_viewed(auth))
CONTACT_STREAM = StreamResource(
    "pjsip.contact", "/pjsip/contacts", "pjsip_contacts", segments_of("id"), streamed_contact
)
REGISTRATION_STREAM = StreamResource(
    "pjsip.registration_outbound",
    "/pjsip/registration_outbounds",
    "pjsip_registrations",
    segments_of("object_name"),
    without(),
)
