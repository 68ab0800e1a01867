"""`python -m vidparse`."""

from vidparse.cli import main

main()
