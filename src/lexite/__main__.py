"""``python -m lexite``: the command line."""

import sys

from lexite.cli import main

if __name__ == "__main__":
    sys.exit(main())
