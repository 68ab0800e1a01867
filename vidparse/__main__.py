"""The program: `vidparse`, and `python -m vidparse`."""

from __future__ import annotations

from vidparse.cli import main

if __name__ == "__main__":
    main()
