"""Indexes: the wanted set, what is there, and the way from one to the other without blocking anybody."""
