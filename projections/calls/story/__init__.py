"""The machine of the model ``calls``: events of channels in, the stories of calls out (docs/architecture/calls.md)."""
