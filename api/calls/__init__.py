"""Calls: /v1/calls, one object a call, and its topic in the event stream; see docs/api/calls.md."""
