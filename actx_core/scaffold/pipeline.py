"""``actx init``: a pipeline over a folder of images that runs as it is."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from actx_core.config.jsonschema import json_schema
from actx_core.errors import ComponentNotFound, ConfigError
from actx_core.packages import package_path
from actx_core.registry import registry
from actx_core.scaffold.fill import filled, write

PHOTOGRAPHS = {
    "package:skimage/data": (
        "astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png",
        "grass.png", "gravel.png", "moon.png", "rocket.jpg",
    ),
    "package:sklearn/datasets/images": ("china.jpg", "flower.jpg"),
}  # fmt: skip
"""Photographs that come with well-known packages."""


def init_pipeline(folder: str | Path, images: str | Path | None = None) -> Path:
    """Write ``pipeline.toml``, with a schema for editors, into ``folder`` and return its path.

    ``images`` is a folder of images; without one, photographs from an installed package are taken. A
    k-means analysis is added where a plugin offers it. Raises ConfigError if a file is there already, or
    the plugin for images or any photographs are missing; SourceError if the folder has no images.
    """
    folder = Path(folder)
    path, include = _photographs() if images is None else (_relative(Path(images), folder), ())
    count = _images(path if images is None else Path(images), include)
    names = ", ".join(map(_quoted, include))
    source = f"path = {_quoted(path)}" + (f"\ninclude = [{names}]" if include else "")
    k = max(2, min(8, count // 4))
    analysis = (
        filled("kmeans.toml", {"k": k}) if count >= k and _offered("analyzer", "kmeans") else ""
    )
    file = folder / "pipeline.toml"
    text = filled("pipeline.toml", {"source": source, "analysis": analysis})
    schema = json.dumps(json_schema(), indent=2, ensure_ascii=False)
    write({file: text.rstrip() + "\n"})
    known = folder / ".actx" / "pipeline.schema.json"
    known.parent.mkdir(exist_ok=True)
    known.write_text(f"{schema}\n", encoding="utf-8")
    return file


def _photographs() -> tuple[str, Sequence[str]]:
    """Where installed photographs are, and which there are meant."""
    for path, names in PHOTOGRAPHS.items():
        try:
            home = package_path(path)
        except ConfigError:
            continue
        there = [name for name in names if (home / name).exists()]
        if there:
            return path, there
    raise ConfigError(
        "no images were named, and no package with photographs is installed",
        hint="actx init --images FOLDER, or pip install scikit-image",
    )


def _relative(images: Path, folder: Path) -> str:
    """A path as the pipeline's folder sees it."""
    try:
        return Path(os.path.relpath(images.expanduser(), folder)).as_posix()
    except ValueError:  # another drive
        return images.expanduser().absolute().as_posix()


def _images(path: str | Path, include: Sequence[str]) -> int:
    """How many images the source finds there: what is written must run."""
    try:
        source = registry().find("source", "image-folder")
        registry().find("model", "torchvision")
    except ComponentNotFound as error:
        raise ConfigError(
            f"the pipeline needs the plugin for images: {error.message}",
            hint="pip install actx-vision",
        ) from error
    config = registry().load_config(source)(path=Path(path).expanduser(), include=tuple(include))
    return len(registry().load(source)(config).listing())


def _offered(kind: str, name: str) -> bool:
    return any(component.name == name for component in registry().all(kind))


def _quoted(text: str) -> str:
    """A TOML string: JSON's escapes are among its own."""
    return json.dumps(text, ensure_ascii=False)
