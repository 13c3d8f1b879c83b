"""`dbkit demo`: the tour on a throw-away PostgreSQL, with real traffic and a report of what it cost the traffic."""
