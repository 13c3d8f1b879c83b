"""postgresql.conf as the server reads it, offline: what loads, what a line means, what a version refuses."""
