"""Changes of the read models over SSE and websocket, live or from a position; see docs/architecture/stream.md."""
