"""The log folded in memory: as-of, subscriptions, explanations, history; see docs/architecture/replay.md."""
