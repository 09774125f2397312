"""Connections: their limits, time limits, and the address of a client; see docs/architecture/api.md."""
