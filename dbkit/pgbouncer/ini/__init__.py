"""pgbouncer.ini as the daemon reads it, offline: what loads, what a line means, what a version refuses."""
