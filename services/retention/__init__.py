"""Events that leave the log: archives and redactions; see docs/architecture/retention.md."""
