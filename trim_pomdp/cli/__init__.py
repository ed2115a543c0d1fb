"""Command line: one verb per stage. Heavy modules are imported by the verbs that need them."""

from trim_pomdp.cli.app import main

__all__ = ["main"]
