"""The command line."""

from paribus.cli.commands import main

__all__ = ["main"]
