"""Read models: pure folds of the log. The one list of them is `ALL`."""

from projections.agents import AGENTS
from projections.channels import CHANNELS
from projections.device_states import DEVICE_STATES
from projections.parked_calls import PARKED_CALLS
from projections.parking_lots import PARKING_LOTS
from projections.queue_entries import QUEUE_ENTRIES
from projections.queue_members import QUEUE_MEMBERS
from projections.queues import QUEUES

ALL = (CHANNELS, DEVICE_STATES, AGENTS, QUEUES, QUEUE_MEMBERS, QUEUE_ENTRIES, PARKING_LOTS, PARKED_CALLS)

__all__ = [
    "AGENTS",
    "ALL",
    "CHANNELS",
    "DEVICE_STATES",
    "PARKED_CALLS",
    "PARKING_LOTS",
    "QUEUES",
    "QUEUE_ENTRIES",
    "QUEUE_MEMBERS",
]
