"""The streamed resources of jade. Each is defined beside its view, whose object it sends."""

from api.jade import core, legacy, modules, park, pjsip, pjsip_endpoints, queue, queue_members
from api.stream.resources import StreamCatalog

CATALOG = StreamCatalog(
    (
        legacy.AGENT_STREAM,
        core.CHANNEL_STREAM,
        modules.MODULE_STREAM,
        core.SYSTEM_STREAM,
        legacy.DEVICE_STREAM,
        park.PARKED_CALL_STREAM,
        park.PARKING_LOT_STREAM,
        pjsip.AOR_STREAM,
        pjsip.AUTH_STREAM,
        pjsip.CONTACT_STREAM,
        pjsip_endpoints.ENDPOINT_STREAM,
        pjsip.REGISTRATION_STREAM,
        queue.ENTRY_STREAM,
        queue_members.MEMBER_STREAM,
        queue.QUEUE_STREAM,
        legacy.PEER_STREAM,
        legacy.REGISTRY_STREAM,
    )
)
