"""Configuration files of a PBX, their sections, and trunks; see docs/api/jade.md."""
