"""Read models of queues, their members, callers and agents."""

from projections.queues.agent_names import AGENT_NAMES
from projections.queues.agent_sessions import AGENT_SESSIONS
from projections.queues.agents import AGENTS
from projections.queues.queue_entries import QUEUE_ENTRIES
from projections.queues.queue_members import QUEUE_MEMBERS
from projections.queues.queues import QUEUES

MODELS = (
    AGENT_NAMES,
    AGENT_SESSIONS,
    AGENTS,
    QUEUE_ENTRIES,
    QUEUE_MEMBERS,
    QUEUES,
)
