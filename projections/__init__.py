"""Read models: pure folds of the log. The one list of them is `ALL`."""

from projections.channels import CHANNELS
from projections.modules import MODULES
from projections.peers import PEERS
from projections.pjsip_aors import PJSIP_AORS
from projections.pjsip_auths import PJSIP_AUTHS
from projections.pjsip_contacts import PJSIP_CONTACTS
from projections.pjsip_endpoints import PJSIP_ENDPOINTS
from projections.pjsip_registrations import PJSIP_REGISTRATIONS
from projections.registries import REGISTRIES
from projections.systems import SYSTEMS
from projections.tokens import TOKENS
from projections.users import USERS

ALL = (
    CHANNELS,
    MODULES,
    PEERS,
    PJSIP_AORS,
    PJSIP_AUTHS,
    PJSIP_CONTACTS,
    PJSIP_ENDPOINTS,
    PJSIP_REGISTRATIONS,
    REGISTRIES,
    SYSTEMS,
    TOKENS,
    USERS,
)
