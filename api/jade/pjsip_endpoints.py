"""/admin/pjsip/endpoints: one endpoint with all its options (seed 001:2868-3176)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec.structs import asdict

from api.jade.resource import Resource
from api.stream.resources import StreamResource, segments_of
from projections.engine.step import StepFold

SQL = """
SELECT e.pbx, e.object_name, e.object_type, e.device_state, e.transport, e.aors, e.auth, e.outbound_auth,
       coalesce(c.up, 0)::text AS active_channels, e.options, e.tm_update
FROM pjsip_endpoints e
LEFT JOIN (
    -- A channel's name is its endpoint's, a hyphen and eight hexadecimal digits.
    SELECT pbx, left(channel, -9) AS endpoint, count(*) AS up FROM channels WHERE channel LIKE 'PJSIP/%' GROUP BY 1, 2
) c ON c.pbx = e.pbx AND c.endpoint = 'PJSIP/' || e.object_name
WHERE ($1::text IS NULL OR e.pbx = $1) AND ($2::text IS NULL OR e.object_name = $2)
ORDER BY e.pbx, e.object_name
"""

STRINGS = """
    account_code acl aggregate_mwi allow allow_overlap allow_subscribe allow_transfer asymmetric_rtp_codec
    bind_rtp_to_media_address bundle call_group caller_id caller_id_privacy caller_id_tag connected_line_method
    contact_acl context direct_media direct_media_glare_mitigation direct_media_method disable_direct_media_on_nat
    dtls_ca_file dtls_ca_path dtls_cert_file dtls_cipher dtls_fingerprint dtls_private_key dtls_setup dtls_verify
    dtmf_mode fax_detect force_avp force_rport from_domain from_user g_726_non_standard ice_support identify_by
    inband_progress incoming_mwi_mailbox language mailboxes media_address media_encryption
    media_encryption_optimistic media_use_received_transport message_context moh_passthrough moh_suggest
    mwi_from_user mwi_subscribe_replaces_unsolicited named_call_group named_pickup_group notify_early_inuse_ringing
    one_touch_recording outbound_proxy pickup_group preferred_codec_only record_off_feature record_on_feature
    redirect_method refer_blind_progress rel_100 rewrite_contact rpid_immediate rtcp_mux rtp_engine rtp_ipv6
    rtp_symmetric sdp_owner sdp_session send_diversion send_pai send_rpid set_var srtp_tag32 sub_min_expiry
    subscribe_context t38_udptl t38_udptl_ec t38_udptl_ipv6 t38_udptl_nat timers timers_min_se tone_zone
    trust_id_inbound trust_id_outbound use_avpf use_ptime user_eq_phone voicemail_extension webrtc
"""

INTEGERS = """
    cos_audio cos_video device_state_busy_at dtls_rekey fax_detect_time max_audio_streams max_video_streams
    rtp_keepalive rtp_timeout rtp_timeout_hold t38_udptl_maxdatagram timers_sess_expires tos_audio tos_video
"""

# Members whose header is not their name in camel case.
IRREGULAR = {
    "account_code": "Accountcode",
    "caller_id": "Callerid",
    "caller_id_privacy": "CalleridPrivacy",
    "caller_id_tag": "CalleridTag",
    "fax_detect_time": "FaxDetectTimeout",
    "rel_100": "100rel",
}


def option(member: str) -> str:
    """Return the header of EndpointDetail (Asterisk 16 and 22) that holds this member."""
    return IRREGULAR.get(member) or "".join(word.capitalize() for word in member.split("_"))


TEXTS = [(member, option(member)) for member in STRINGS.split()]
NUMBERS = [(member, option(member)) for member in INTEGERS.split()]


def endpoint(row: Mapping[str, Any], _now: datetime) -> dict[str, Any]:
    """Return the wire's object; ``disallow`` is always empty, because Asterisk lists only what is allowed."""
    item = dict(row)
    options = item.pop("options")
    for member, name in TEXTS:
        item[member] = options.get(name, "")
    for member, name in NUMBERS:
        text = options.get(name, "0")
        item[member] = int(text) if text.isdecimal() else 0
    item["disallow"] = ""
    return item


ENDPOINTS = Resource("endpoints", SQL, ("pjsip_endpoints", "channels"), endpoint)


def streamed_endpoint(row: Any, at: datetime, step: StepFold) -> dict[str, Any]:
    name = f"PJSIP/{row.object_name}"
    up = sum(c.channel[:-9] == name and c.pbx == row.pbx for c in step.rows("channels").values())
    return endpoint({**asdict(row), "active_channels": str(up)}, at)


ENDPOINT_STREAM = StreamResource(
    "pjsip.endpoint", "/pjsip/endpoints", "pjsip_endpoints", segments_of("object_name"), streamed_endpoint
)
