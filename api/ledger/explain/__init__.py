"""The events of which a row, a call or a statistic was folded; see docs/api/ledger.md."""
