"""`isthmus lab …`."""

import typer

app = typer.Typer(no_args_is_help=True, help="Whole clusters on this machine.")


@app.callback()
def _root() -> None:
    pass
