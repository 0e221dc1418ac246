"""Bring the command help in docs/cli.md up to date: ```text blocks that begin with `$ actx ... --help`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
BLOCK = re.compile(r"(?<=^```text\n)\$ actx (?P<arguments>[^\n]*--help)\n.*?(?=^```)", re.M | re.S)


def refresh(text: str) -> str:
    """The page with each block's output replaced by what the command prints now."""
    return BLOCK.sub(lambda match: _help(match["arguments"]), text)


def _help(arguments: str) -> str:
    command = [sys.executable, "-m", "actx_core", *arguments.split()]
    env = os.environ | {"COLUMNS": "80", "NO_COLOR": "1"}
    done = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
    return f"$ actx {arguments}\n{done.stdout}"


if __name__ == "__main__":
    PAGE.write_text(refresh(PAGE.read_text("utf-8")), "utf-8")
