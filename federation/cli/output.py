"""How every command speaks: tables for people, JSON or YAML for programs, one-screen errors with the right exit code.

Exit codes: 0 healthy or done, 1 degraded or refused, 2 wrong usage or error.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import typer
import yaml
from rich.console import Console
from rich.table import Table

from federation.model.errors import InvalidInput, IsthmusError, Unavailable
from federation.runtime import log as logs

T = TypeVar("T")
OK, DEGRADED, ERROR = 0, 1, 2


class Format(StrEnum):
    """How a result is written."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


Output = Annotated[Format, typer.Option("-o", "--output", help="table for people, json or yaml for programs.")]
Timeout = Annotated[float, typer.Option("--timeout", help="Give up after so many seconds.")]
AuthorityDir = Annotated[
    Path,
    typer.Option("--dir", envvar="ISTHMUS_AUTHORITY_DIR", help="Directory of the mesh's authority (isthmus init)."),
]
# A pipe or a file has no width to fit into: nothing is cut there.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 240)
errors = Console(stderr=True, highlight=False)


def show(
    data: Any, output: Format, columns: Sequence[str] = (), rows: Sequence[Sequence[Any]] = (), title: str = ""
) -> None:
    """Write a result: `data` for programs, `columns` and `rows` for people."""
    plain = msgspec.to_builtins(data, enc_hook=str)
    if output is Format.JSON:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(plain), indent=2).decode() + "\n")
    elif output is Format.YAML:
        sys.stdout.write(yaml.safe_dump(plain, sort_keys=False))
    else:
        table = Table(*columns, title=title or None, box=None, pad_edge=False, header_style="bold")
        for row in rows:
            table.add_row(*(str(cell) for cell in row))
        console.print(table)


def say(text: str) -> None:
    """A line for people, on stderr, so that stdout stays for results."""
    errors.print(text, soft_wrap=True)


def run_async(work: Coroutine[Any, Any, T], timeout: float = 60.0) -> T:
    """Run a command's work with its deadline; every known error becomes a message and an exit code."""
    logs.configure("error")

    async def bounded() -> T:
        async with asyncio.timeout(timeout):
            return await work

    try:
        return asyncio.run(bounded())
    except TimeoutError:
        fail(Unavailable(f"no result within {timeout:g} s; try a longer --timeout"))
    except IsthmusError as error:
        fail(error)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    raise AssertionError


def fail(error: IsthmusError) -> None:
    """Say what is wrong on one screen and end with code 2."""
    if isinstance(error, InvalidInput):
        for finding in error.findings:
            place = f"{finding.object} {finding.path}".strip()
            errors.print(f"[red]error[/] {place}: {finding.message}", soft_wrap=True)
            if finding.fix:
                errors.print(f"      {finding.fix}", soft_wrap=True)
    else:
        errors.print(f"[red]error[/] {error}", soft_wrap=True)
    raise typer.Exit(ERROR)
