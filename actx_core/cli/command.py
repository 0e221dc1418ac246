"""What all commands share: the options --json and --debug, and where their output goes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from inspect import cleandoc
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from actx_core.cli.plain import Plain

Function = Callable[..., None]


class Output:
    """Where a command writes: people get lines and tables, programs one JSON object."""

    def __init__(self, as_json: bool) -> None:
        self.json = as_json

    @property
    def terminal(self) -> bool:
        """Whether a person reads stdout now."""
        return not self.json and sys.stdout.isatty()

    @property
    def asks(self) -> bool:
        """Whether somebody is there to answer a question."""
        return self.terminal and sys.stdin.isatty()

    @cached_property
    def screen(self) -> Plain:
        """Draws tables and progress: rich at a terminal, plain text elsewhere."""
        if self.terminal:
            from actx_core.cli.render import Rich

            return Rich()
        from actx_core.cli.plain import Plain

        return Plain()

    def object(self, data: Any, indent: int | None = 2) -> None:
        """Print the JSON object, or with ``indent=None`` one line of it; nothing without ``--json``."""
        if self.json:
            import json

            click.echo(json.dumps(data, indent=indent, ensure_ascii=False, default=_plain))

    def line(self, text: str = "") -> None:
        """Print a line for people."""
        if not self.json:
            click.echo(text)

    def table(
        self, heads: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = ()
    ) -> None:
        """Print a table for people; the columns named in ``right`` are aligned there."""
        if not self.json:
            self.screen.table(heads, rows, right)


def _plain(value: Any) -> Any:
    """What JSON does not know: numpy's scalars as numbers, the rest as text."""
    return value.item() if hasattr(value, "item") else str(value)


def command(*, json: str) -> Callable[[Function], click.Command]:
    """A click command with --json and --debug, whose function gets an Output first.

    ``json`` documents what ``--json`` prints; it ends the help.
    """

    def decorate(function: Function) -> click.Command:
        def call(as_json: bool, debug: bool, **arguments: Any) -> None:
            function(Output(as_json), **arguments)

        call = click.option("--debug", is_flag=True, help="Show tracebacks of errors.")(call)
        call = click.option("--json", "as_json", is_flag=True, help="Print JSON.")(call)
        # click reverses this list: the command's own parameters come first.
        call.__click_params__ += getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
        text = f"{cleandoc(function.__doc__ or '')}\n\n\b\n--json prints {json.strip()}"
        return click.command(function.__name__, help=text)(call)

    return decorate


def overrides(function: Function) -> Function:
    """The option --set of commands that read a pipeline."""
    return click.option(
        "--set",
        "sets",
        multiple=True,
        metavar="KEY=VALUE",
        help="Override a key of the pipeline, such as model.0.name=vit_b_16. Repeatable.",
    )(function)
