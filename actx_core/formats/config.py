"""Options of the export formats."""

from __future__ import annotations

from typing import Literal

from actx_core.contracts import Config


class TextConfig(Config):
    """Options of ``text``."""

    delimiter: Literal[" ", ",", ";", "\t"] = " "
    """What stands between two numbers; files end in .csv with a comma or semicolon, .tsv with a tab."""
