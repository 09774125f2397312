"""Checkpoints of the read models, and waits for them; see docs/architecture/projector.md."""
