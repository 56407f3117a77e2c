"""The command line: ``lexite VERB``, one file per verb."""

from lexite.cli.app import main

__all__ = ["main"]
