"""PgBouncer: its file, its console, and whether its pools fit the servers behind it."""
