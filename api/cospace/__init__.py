"""The cospace dialect (seed 000); see docs/api/cospace.md."""
