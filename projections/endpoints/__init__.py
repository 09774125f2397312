"""Read models of endpoints, peers, registrations and device states."""

from projections.endpoints.device_states import DEVICE_STATES
from projections.endpoints.peers import PEERS
from projections.endpoints.pjsip_aors import PJSIP_AORS
from projections.endpoints.pjsip_auths import PJSIP_AUTHS
from projections.endpoints.pjsip_contacts import PJSIP_CONTACTS
from projections.endpoints.pjsip_endpoints import PJSIP_ENDPOINTS
from projections.endpoints.pjsip_registrations import PJSIP_REGISTRATIONS
from projections.endpoints.registries import REGISTRIES

MODELS = (
    DEVICE_STATES,
    PEERS,
    PJSIP_AORS,
    PJSIP_AUTHS,
    PJSIP_CONTACTS,
    PJSIP_ENDPOINTS,
    PJSIP_REGISTRATIONS,
    REGISTRIES,
)
