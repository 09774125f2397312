"""The wire to Asterisk and its configuration files, without a database; see docs/architecture/asterisk.md."""
