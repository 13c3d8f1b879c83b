"""pg_hba.conf as the server reads it, offline: who may connect, and the lines it refuses."""
