"""PostgreSQL settings: what is in force or in a file, held against the policy, the machine and each other."""
