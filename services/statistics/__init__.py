"""Reads the figures of queues and agents: buckets of a time zone, SQL, and figures of its rows."""
