"""Streams: every change of the read models, as it happens or from any position of the log."""
