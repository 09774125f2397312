"""The append-only event log; see docs/architecture/log.md."""
