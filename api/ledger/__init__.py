"""The ledger's own questions: what is in the log, that it is the log, and what a number was made of."""
