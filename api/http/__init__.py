"""The parts of HTTP that every dialect shares, and that name none; see docs/architecture/api.md."""
