"""``actx new plugin NAME``: a package with one model, its entry point and its conformance test."""

from __future__ import annotations

import re
from pathlib import Path

from actx_core import __version__
from actx_core.errors import ConfigError
from actx_core.scaffold.fill import SUFFIX, TEMPLATES, filled, write


def new_plugin(folder: str | Path, name: str) -> list[Path]:
    """Write the package ``actx-NAME`` into ``folder`` and return its files.

    Raises ConfigError if the name is no name for a package, or a file is there already.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or name == "core":
        raise ConfigError(
            f"expected lower-case letters, digits and single hyphens, found '{name}'",
            hint="name it after its model, such as toy-net; the package is then actx-toy-net",
        )
    package = f"actx_{name.replace('-', '_')}"
    title = "".join(part.capitalize() for part in name.split("-"))
    values = {"name": name, "package": package, "title": title, "version": __version__}
    home = Path(folder) / f"actx-{name}"
    files = {}
    for template in sorted((TEMPLATES / "plugin").rglob(f"*{SUFFIX}")):
        inside = template.relative_to(TEMPLATES).with_suffix("")
        parts = [package if part == "package" else part for part in inside.parts[1:]]
        files[home.joinpath(*parts)] = filled(inside.as_posix(), values)
    write(files)
    return list(files)
