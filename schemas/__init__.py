"""The shapes of data: Ringledger's own events, AMI events, settings, files; see docs/architecture/index.md."""
