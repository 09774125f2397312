"""PostgreSQL: connections, schema, locks, errors; see docs/architecture/database.md."""
