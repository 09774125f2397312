"""Users and tokens in memory, passwords, throttles; see docs/architecture/accounts.md."""
