"""The version of lexite, which the wheel, saved files and reports name."""

__version__ = "0.1.0"
