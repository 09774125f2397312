"""The cospace dialect: seed 000."""
