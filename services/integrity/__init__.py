"""The proof that the log is unchanged: chain walk, damage, anchors, archives; see docs/architecture/integrity.md."""
