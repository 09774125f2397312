"""Read models: pure folds of the log. The one list of them is `ALL`."""

from projections.calls.call_records import CALL_RECORDS
from projections.calls.channels import CHANNELS
from projections.calls.parked_calls import PARKED_CALLS
from projections.calls.parking_lots import PARKING_LOTS
from projections.calls.samples import SAMPLES
from projections.calls.statistics import STATISTICS
from projections.commands.acts import ACTS
from projections.commands.requests import REQUESTS
from projections.dialplans.adpmas import ADPMAS
from projections.dialplans.adps import ADPS
from projections.dialplans.agi_runs import AGI_RUNS
from projections.endpoints.device_states import DEVICE_STATES
from projections.endpoints.peers import PEERS
from projections.endpoints.pjsip_aors import PJSIP_AORS
from projections.endpoints.pjsip_auths import PJSIP_AUTHS
from projections.endpoints.pjsip_contacts import PJSIP_CONTACTS
from projections.endpoints.pjsip_endpoints import PJSIP_ENDPOINTS
from projections.endpoints.pjsip_registrations import PJSIP_REGISTRATIONS
from projections.endpoints.registries import REGISTRIES
from projections.pbx.configurations import CONFIGURATIONS
from projections.pbx.gaps import GAPS
from projections.pbx.links import LINKS
from projections.pbx.modules import MODULES
from projections.pbx.systems import SYSTEMS
from projections.people.buddies import BUDDIES
from projections.people.chats import CHATS
from projections.people.contacts import CONTACTS
from projections.people.messages import MESSAGES
from projections.people.rooms import ROOMS
from projections.people.tokens import TOKENS
from projections.people.users import USERS
from projections.queues.agents import AGENTS
from projections.queues.queue_entries import QUEUE_ENTRIES
from projections.queues.queue_members import QUEUE_MEMBERS
from projections.queues.queues import QUEUES

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
