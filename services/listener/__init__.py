"""From a PBX to the log: links (AMI, ARI), backlog, spool, lease, and the writer that appends."""
