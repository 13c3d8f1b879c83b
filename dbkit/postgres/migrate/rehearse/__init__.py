"""Rehearsal: migrations run on a throw-away server while a second session watches what they lock, rewrite and read."""
