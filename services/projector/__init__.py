"""From the log to the tables of the read models; see docs/architecture/projector.md."""
