"""`python -m dbkit` is `dbkit`."""

from dbkit.cli import main

main()
