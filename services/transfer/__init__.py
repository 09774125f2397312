"""Export and import: ledger files, AMI, Asterisk's own files; see docs/architecture/transfer.md."""
