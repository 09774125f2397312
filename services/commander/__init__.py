"""Carries out acts at a PBX, drives async AGI, and reads configuration files."""
