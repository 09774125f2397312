"""The recordings that have call records, and the events of calls."""

CAPTURES = [("rich22", 663, 9), ("rich16", 679, 9)]
CALL_EVENTS = ("Cdr", "AgentCalled", "AgentConnect", "QueueCallerJoin", "QueueCallerAbandon")
