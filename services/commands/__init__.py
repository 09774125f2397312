"""Use cases: decisions and requests of acts, for every dialect; see docs/architecture/commands.md."""
