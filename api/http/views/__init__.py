"""Views: SQL and shape, of the present and of the past, their bytes and tags; see docs/architecture/api.md."""
