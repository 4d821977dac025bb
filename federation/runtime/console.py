"""How a process of ours that serves is started from a command line, and how it says that it cannot."""

from __future__ import annotations

import sys

import typer

from federation.model.errors import InvalidInput, IsthmusError


def run_console(app: typer.Typer, name: str) -> None:
    """Run a command; what is wrong with its flags or its surroundings is one screen on stderr and exit code 2."""
    try:
        app(standalone_mode=True)
    except InvalidInput as wrong:
        for finding in wrong.findings:
            sys.stderr.write(f"{finding}\n")
        sys.exit(2)
    except IsthmusError as error:
        sys.stderr.write(f"{name}: {error}\n")
        sys.exit(2)
