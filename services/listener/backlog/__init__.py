"""The events of a PBX that are not in the log yet, in memory and on disk; see docs/architecture/listener.md."""
