"""Asterisk's configuration files: their text, their sections, and how AMI reads and writes them."""
