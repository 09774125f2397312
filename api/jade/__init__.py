"""The jade dialect: seed 001."""
