"""The endpoints of the log: events, proofs, gaps, search, explanations; see docs/api/ledger.md."""
