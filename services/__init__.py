"""Everything with I/O, one package per stage of the data; see docs/architecture/index.md."""
