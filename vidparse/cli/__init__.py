"""The command line: parse, one library call, print; heavy imports wait for the command that runs.

Exit codes: 0 ok; 1 some inputs failed, or an internal error; 2 usage; 3 input; 4 model; 5 device;
6 output; 130 interrupted.
"""

from vidparse.cli.app import main

__all__ = ["main"]
