"""The Asterisk Manager Interface: framing, protocol, session, actions, lists and snapshots."""
