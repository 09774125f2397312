"""The jade dialect (seed 001); see docs/api/jade.md."""
