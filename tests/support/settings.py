"""A secret for settings."""

SECRET = "s3cr3t"
