"""The fold engine: read models are defined in `model`, and `fold` turns batches of events into their rows.

Nothing here does I/O: events and rows come in, rows go out.
"""
