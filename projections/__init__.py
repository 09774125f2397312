"""Read models: pure folds of the log. The one list of them is `ALL`."""

from projections.acts import ACTS
from projections.adpmas import ADPMAS
from projections.adps import ADPS
from projections.agents import AGENTS
from projections.agi_runs import AGI_RUNS
from projections.buddies import BUDDIES
from projections.call_records import CALL_RECORDS
from projections.channels import CHANNELS
from projections.chats import CHATS
from projections.configurations import CONFIGURATIONS
from projections.contacts import CONTACTS
from projections.device_states import DEVICE_STATES
from projections.gaps import GAPS
from projections.links import LINKS
from projections.messages import MESSAGES
from projections.modules import MODULES
from projections.parked_calls import PARKED_CALLS
from projections.parking_lots import PARKING_LOTS
from projections.peers import PEERS
from projections.pjsip_aors import PJSIP_AORS
from projections.pjsip_auths import PJSIP_AUTHS
from projections.pjsip_contacts import PJSIP_CONTACTS
from projections.pjsip_endpoints import PJSIP_ENDPOINTS
from projections.pjsip_registrations import PJSIP_REGISTRATIONS
from projections.queue_entries import QUEUE_ENTRIES
from projections.queue_members import QUEUE_MEMBERS
from projections.queues import QUEUES
from projections.registries import REGISTRIES
from projections.requests import REQUESTS
from projections.rooms import ROOMS
from projections.samples import SAMPLES
from projections.statistics import STATISTICS
from projections.systems import SYSTEMS
from projections.tokens import TOKENS
from projections.users import USERS

ALL = (
    ACTS,
    ADPMAS,
    ADPS,
    AGENTS,
    AGI_RUNS,
    BUDDIES,
    CALL_RECORDS,
    CHANNELS,
    CHATS,
    CONFIGURATIONS,
    CONTACTS,
    DEVICE_STATES,
    GAPS,
    LINKS,
    MESSAGES,
    MODULES,
    PARKED_CALLS,
    PARKING_LOTS,
    PEERS,
    PJSIP_AORS,
    PJSIP_AUTHS,
    PJSIP_CONTACTS,
    PJSIP_ENDPOINTS,
    PJSIP_REGISTRATIONS,
    QUEUES,
    QUEUE_ENTRIES,
    QUEUE_MEMBERS,
    REGISTRIES,
    REQUESTS,
    ROOMS,
    SAMPLES,
    STATISTICS,
    SYSTEMS,
    TOKENS,
    USERS,
)
