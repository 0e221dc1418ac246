"""The group of commands: it knows names and summaries, and imports a command when it is called."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

import click

import actx_core
from actx_core.errors import ConfigError, PluginError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from actx_core.hookspecs import Component

COMMANDS: Mapping[str, tuple[str, str]] = {
    "run": ("run:run", "Extract, store and analyse what a pipeline asks for; resumes by itself."),
    "plan": ("plan:plan", "Show what a pipeline will store and what memory its analyses take."),
    "peek": ("peek:peek", "Look at the data as the models get them."),
    "show": ("show:show", "List the arrays of a run, or of any HDF5 file."),
    "verify": (
        "verify:verify",
        "Check every file of a run, or a file of a known format.",
    ),
    "analyze": ("analyze:analyze", "Run analyses on a run that exists, or on a file of arrays."),
    "convert": ("convert:convert", "Write a run in another format."),
    "finish": ("finish:finish", "Join and analyse a run whose slices are done."),
    "layers": ("layers:layers", "Print the module tree of a model with its taps."),
    "models": (
        "models:models",
        "List models with published weights, their licences and addresses.",
    ),
    "plugins": ("plugins:plugins", "List plugins and what they provide."),
    "schema": ("schema:schema", "Print the JSON schema of pipeline files, for editors."),
    "init": ("init:init", "Write a pipeline that runs."),
    "new": ("init:new", "Start a plugin of your own."),
}
"""Name: (module of this package and attribute, summary), in the order of the help."""


class LazyGroup(click.Group):
    """Core's commands, then those of plugins; errors end as a line, an object, and an exit code."""

    def summaries(self) -> dict[str, str]:
        """Every command and what it does, without importing any."""
        return {name: summary for name, (_, summary) in COMMANDS.items()} | {
            name: component.summary for name, component in _of_plugins().items()
        }

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.summaries())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            module, _, attribute = COMMANDS[cmd_name][0].partition(":")
            return cast(
                "click.Command", getattr(import_module(f"actx_core.cli.{module}"), attribute)
            )
        component = _of_plugins().get(cmd_name)
        return _load(component) if component else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and name not in COMMANDS and name not in _of_plugins():
            close = get_close_matches(name, self.summaries())
            hint = f"did you mean '{close[0]}'?" if close else "actx --help lists them"
            raise ConfigError(f"no command is called '{name}'", hint=hint)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self.summaries().items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        return [
            CompletionItem(name, help=summary)
            for name, summary in self.summaries().items()
            if name.startswith(incomplete)
        ] + click.Command.shell_complete(self, ctx, incomplete)

    def invoke(self, ctx: click.Context) -> None:
        super().invoke(ctx)  # what a command returns is no exit code

    def main(self, *args: Any, **kwargs: Any) -> Any:
        from actx_core.cli.guard import guarded

        given = args[0] if args else kwargs.get("args")
        kwargs["standalone_mode"] = False
        guarded(lambda: super(LazyGroup, self).main(*args, **kwargs), given)


def _load(component: Component) -> click.Command:
    from actx_core.registry import registry

    command = registry().load(component)
    if not isinstance(command, click.Command):
        raise PluginError(
            f"expected a click command at {component.target}, found {type(command).__name__}",
            where=f"{component.plugin}/{component.name}",
        )
    return command


def _of_plugins() -> dict[str, Component]:
    """The commands of plugins by name; ``plugin/name`` where the name is taken."""
    from actx_core.registry import registry

    found: dict[str, Component] = {}
    for component in registry().all("command"):
        taken = component.name in COMMANDS or component.name in found
        found[f"{component.plugin}/{component.name}" if taken else component.name] = component
    return found


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Every command takes --json (one object on stdout) and --debug (tracebacks).",
    invoke_without_command=True,
)
@click.version_option(actx_core.__version__, prog_name="actx", message="%(prog)s %(version)s")
@click.pass_context
def actx(ctx: click.Context) -> None:
    """Any model + any data into a verified store of activations.

    Start with `actx init`, then `actx run pipeline.toml`.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
