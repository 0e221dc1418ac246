"""Turns what a command raises into lines on stderr, or a JSON object, and an exit code."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, NoReturn

import click

from actx_core.errors import ActxError, ConfigError, Interrupted, Problem, StoreError

RESUMES = "interrupted: the same command resumes"


def guarded(command: Callable[[], Any], args: Sequence[str] | None) -> NoReturn:
    """Run a command and exit: 0, the error's code, 130 when interrupted, 1 for a bug."""
    given = sys.argv[1:] if args is None else args
    as_json, debug = "--json" in given, "--debug" in given
    try:
        result = command()
        code = result if isinstance(result, int) else 0  # click returns what ctx.exit() was given
    except (Exception, KeyboardInterrupt) as error:
        known = _known(error)
        code = _bug(error, as_json) if known is None else _report(known, as_json, debug)
    sys.exit(code)


def _known(error: BaseException) -> ActxError | None:
    """What happened, in the words of our own tree; None for a bug."""
    if isinstance(error, ActxError):
        return error
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return Interrupted(RESUMES)
    if isinstance(error, click.ClickException):
        return _usage(error)
    if isinstance(error, OSError) and error.filename:
        return StoreError(f"{error.strerror or error}".lower(), where=f"{error.filename}")
    return None


def _bug(error: BaseException, as_json: bool) -> int:
    traceback.print_exception(error)
    sentence = "this is a bug in actx or in a plugin: please report it with the lines above"
    click.echo(sentence, err=True)
    if as_json:
        click.echo(_json(_object("bug", f"{type(error).__name__}: {error}", hint=sentence)))
    return 1


def _usage(error: click.ClickException) -> ConfigError:
    """A mistake on the command line, as one of our own."""
    ctx = getattr(error, "ctx", None)
    hint = f"{ctx.command_path} --help" if ctx else ""
    message = " ".join(error.format_message().split()).rstrip(".")
    return ConfigError(message[:1].lower() + message[1:], hint=hint)


def _report(error: ActxError, as_json: bool, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    if as_json:
        click.echo(_json(error_object(error)))
    elif isinstance(error, Interrupted):
        click.echo(str(error), err=True)
    else:
        for problem in _problems(error):
            click.echo(f"error: {problem}", err=True)
    return error.exit_code


def error_object(error: ActxError) -> dict[str, Any]:
    """``{"error": {"code", "message", "where", "hint", "problems"}}``; code is the error's class."""
    name = type(error).__name__
    return _object(name, error.message, error.where, error.hint, _problems(error))


def _problems(error: ActxError) -> Sequence[Problem]:
    """Every mistake that the error holds; itself, where it is about one thing."""
    if isinstance(error, ConfigError):
        return error.problems
    return [Problem(error.where, error.message, error.hint)]


def _object(
    code: str, message: str, where: str = "", hint: str = "", problems: Sequence[Problem] = ()
) -> dict[str, Any]:
    fields = {"code": code, "message": message, "where": where, "hint": hint}
    return {"error": {**fields, "problems": [asdict(p) for p in problems]}}


def _json(data: Any) -> str:
    import json

    return json.dumps(data, ensure_ascii=False)
