"""The caller's own buddies, chats, messages and calls; see docs/api/jade.md."""
