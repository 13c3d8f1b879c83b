"""PostgreSQL migrations: reading them, knowing what they lock, and judging them before they run."""
