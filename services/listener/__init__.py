"""From a PBX to the log: links (AMI, ARI), backlog, spool, lease, ingest; see docs/architecture/listener.md."""
