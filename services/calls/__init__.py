"""Reads calls: the SQL of lists and of one call, and the objects of their rows."""
