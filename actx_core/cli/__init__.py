"""The command ``actx``: a group whose commands are imported only when they are used."""

from __future__ import annotations


def main() -> None:
    """Run the command line and exit with its code."""
    from actx_core.cli.group import actx

    actx(prog_name="actx")
