"""Folds the log into the tables of the read models."""
