"""Acts at a PBX, async AGI, configuration files; see docs/architecture/commander.md."""
