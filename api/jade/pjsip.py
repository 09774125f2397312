"""/admin/pjsip: aors, auths, contacts, registration_outbounds (seed 001:2385-2860, 3178).

`pjsip_endpoints` has the endpoints.
"""

from api.jade.resource import Resource
from schemas.secrets import MASK

AORS_SQL = """
SELECT pbx, object_name, object_type, endpoint_name, contacts, contacts_registered, total_contacts,
       authenticate_qualify, default_expiration, mailboxes, max_contacts, maximum_expiration, minimum_expiration,
       outbound_proxy, qualify_frequency, qualify_timeout, remove_existing, support_path, voicemail_extension, tm_update
FROM pjsip_aors
WHERE ($1::text IS NULL OR pbx = $1) AND ($2::text IS NULL OR object_name = $2)
ORDER BY pbx, object_name
"""

AUTHS_SQL = f"""
SELECT pbx, object_name, object_type, username, auth_type, realm, nonce_lifetime, endpoint_name, tm_update,
       CASE WHEN password = '' THEN '' ELSE '{MASK}' END AS password,
       CASE WHEN md5_cred = '' THEN '' ELSE '{MASK}' END AS md5_cred
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

AORS = Resource("aors", AORS_SQL, ("pjsip_aors",))
AUTHS = Resource("auths", AUTHS_SQL, ("pjsip_auths",))
CONTACTS = Resource("contacts", CONTACTS_SQL, ("pjsip_contacts",))
REGISTRATIONS = Resource("registration_outbounds", REGISTRATIONS_SQL, ("pjsip_registrations",))
