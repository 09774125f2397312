"""Figures of queues and agents by hour, day, week or month of any time zone; see docs/api/statistics.md."""
