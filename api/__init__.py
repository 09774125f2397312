"""The HTTP layer: dialects, event stream, ledger endpoints, operations; see docs/architecture/api.md."""
