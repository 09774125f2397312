"""Rebuilds of read models: the command, --diff and its report; see docs/architecture/projector.md."""
