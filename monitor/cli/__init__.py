"""The command line: what people type and see. Imports what a command needs when it runs, so that --help is instant."""

from __future__ import annotations


def main() -> None:
    """The `levmon` command."""
    from monitor.cli.app import main as run

    run()
