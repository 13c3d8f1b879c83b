"""Runs migrations statement by statement: look, then lock, inside a budget of stall; every attempt is recorded."""
