"""Backfill: fills the rows nobody has touched since expand, in small transactions, as a job that can be stopped."""
