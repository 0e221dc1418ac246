"""Options of the sources of actx-vision; imports neither torch nor torchvision."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from actx_core import Config, ConfigError, InputPath
from actx_core.packages import DataPath, package_path

EXTENSIONS = (
    ".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".jp2", ".ppm", ".pgm",
)  # fmt: skip
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "ann_pipe": {
        "replicates": 4,
        "jitter": {"saturation": 0.05, "hue": 0.05},
        "alpha": "mask",
        "background": (0, 0, 0),
        "pad": 0.1,
    }
}
Width = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Level = Annotated[int, Field(ge=0, le=255)]


class Jitter(Config):
    """How far the replicates of a picture depart from it; what is 0 stays as it is."""

    brightness: Width = 0.0
    """The factor is drawn from [max(0, 1 - x), 1 + x], as torchvision's ColorJitter does."""
    contrast: Width = 0.0
    """The factor is drawn from [max(0, 1 - x), 1 + x]."""
    saturation: Width = 0.0
    """The factor is drawn from [max(0, 1 - x), 1 + x]."""
    hue: Width = Field(default=0.0, le=0.5)
    """The shift is drawn from [-x, x]; 1 is once round the circle of colours."""
    translate: Width = Field(default=0.0, le=1)
    """The shifts are drawn from [-x, x], as shares of the picture's width and of its height."""
    translate_px: Width = Field(default=0.0, le=10_000)
    """The shifts are drawn from [-x, x] pixels of the picture, in place of ``translate``."""
    noise: Width = Field(default=0.0, le=1)
    """Standard deviation of Gaussian noise on each value, where black is 0 and white is 1."""

    @model_validator(mode="after")
    def _one_unit(self) -> Self:
        if self.translate and self.translate_px:
            raise ValueError("translate (a share) and translate_px (pixels) exclude each other")
        return self


class ImageSourceConfig(Config):
    """What every source of images can be told: how pictures are flattened, padded and repeated."""

    preset: Literal["ann_pipe"] | None = None
    """Options under one name; those that are said beside it win. ann_pipe: four replicates with 5 %
    of saturation and hue, transparent pixels black, a border of a tenth."""
    alpha: Literal["drop", "mask", "blend"] = "drop"
    """Transparency: dropped, fully transparent pixels become background, or blended with it."""
    background: tuple[Level, Level, Level] = (0, 0, 0)
    """Red, green and blue of transparent pixels and of the border."""
    pad: Width = Field(default=0.0, le=10)
    """Border on each side, as a share of the width and of the height: 0.1 makes both 1.2 times as long."""
    replicates: int = Field(default=1, ge=1)
    """How often each picture is shown; the first time as it is, then with jitter."""
    jitter: Jitter = Jitter()
    """How the replicates differ: brightness, contrast, saturation, hue, translate(_px), noise."""
    seed: int = 0
    """Seed of the jitter; by default that of the run."""

    @model_validator(mode="before")
    @classmethod
    def _take_preset(cls, given: Any) -> Any:
        name = given.get("preset") if isinstance(given, dict) else None
        if not isinstance(name, str) or name not in PRESETS:
            return given
        preset = PRESETS[name]
        whole = {**preset, **given}
        if isinstance(jitter := whole["jitter"], dict):
            whole["jitter"] = {**preset["jitter"], **jitter}
        return whole

    @model_validator(mode="after")
    def _replicates_differ(self) -> Self:
        jittered = self.jitter != Jitter()
        if self.replicates > 1 and not jittered:
            raise ConfigError(
                f"{self.replicates} replicates without jitter would be {self.replicates} equal rows",
                hint='say jitter = { translate = 0.02 }, or preset = "ann_pipe"',
            )
        if self.replicates == 1 and jittered and self.preset is None:
            raise ConfigError(
                "jitter without replicates does nothing: the first replicate is always clean",
                hint="say replicates = 2 or more",
            )
        return self


class ImageFolderConfig(ImageSourceConfig):
    """Options of ``image-folder``."""

    path: DataPath
    """The folder, with all below it: relative to the pipeline file, or ``package:NAME/folder``."""
    folders: tuple[str, ...] = ()
    """Several folders in place of one, relative to ``path`` or absolute; each is a source of its own."""
    extensions: tuple[str, ...] = EXTENSIONS
    """Endings of the files to take; upper and lower case are the same."""
    include: tuple[str, ...] = ()
    """Take only files whose path below the folder matches one of these globs: ``cats/*.png``."""

    @field_validator("folders")
    @classmethod
    def _differ(cls, folders: tuple[str, ...]) -> tuple[str, ...]:
        twice = [f for f, n in Counter(map(os.path.normpath, folders)).items() if n > 1]
        if twice:
            raise ValueError(f"the folder '{twice[0]}' stands there twice")
        if not all(folders):
            raise ValueError("the name of a folder is empty; '.' is the folder `path` itself")
        return folders

    def label(self) -> str:
        return _last(self.path)

    def expand(self, given: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """One table per folder, called by its last part, or by its whole path where two would be equal."""
        rest = {name: value for name, value in given.items() if name != "folders"}
        root = str(given.get("path", ""))
        paths = [os.path.join(root, os.path.expanduser(folder)) for folder in self.folders]
        names = [_last(self.path / os.path.expanduser(folder)) for folder in self.folders]
        count = Counter(name.casefold() for name in names)
        whole = [os.path.normpath(folder).strip("/").replace("/", "_") for folder in self.folders]
        return [
            {**rest, "path": path, "as": long if count[name.casefold()] > 1 else name}
            for path, name, long in zip(paths, names, whole, strict=True)
        ]


class ImageTableConfig(ImageSourceConfig):
    """Options of ``image-table``."""

    path: DataPath
    """A .csv, .tsv or .parquet table with a line per picture, or a .txt file with a path per line."""
    column: str = ""
    """The column that holds paths; by default the first that is there of path, file, filename, image,
    image_path, stimulus_path."""
    id: str = ""
    """The column that holds the samples' ids; by default stimulus_id, id or sample, else the paths
    without their ending."""
    root: InputPath | None = None
    """Where relative paths start; by default the folder of the table."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        kind = self.path.suffix.lower()
        if kind not in {".csv", ".tsv", ".parquet", ".txt"}:
            raise ValueError(f"expected .csv, .tsv, .parquet or .txt, found '{self.path.name}'")
        if kind == ".txt" and (self.column or self.id):
            raise ValueError(
                "column and id name columns of a table; a .txt file has a path per line"
            )
        return self

    def label(self) -> str:
        return self.path.stem


class ImageStackConfig(ImageSourceConfig):
    """Options of ``image-stack``."""

    path: DataPath
    """An HDF5 file (.h5, .hdf5) or a .npy file of pictures: 8-bit, or floats in [0, 1]."""
    dataset: str = ""
    """The HDF5 dataset that holds the pictures; by default the only one that can."""
    ids: str = ""
    """The HDF5 dataset that holds the samples' ids; by default ids are numbers from 0."""
    layout: Literal["nhw", "nhwc", "nchw"] | None = None
    """Its axes, with n for pictures and c for channels; needed where the shape has two readings."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.path.suffix == ".npy" and (self.dataset or self.ids):
            raise ValueError("dataset and ids name parts of an HDF5 file; a .npy file has no parts")
        return self

    def label(self) -> str:
        return self.path.stem


class ThingsConfig(ImageSourceConfig):
    """Options of ``things``."""

    path: DataPath
    """The folder that holds one folder of images per object, such as ``aardvark``."""
    concepts: InputPath | None = None
    """The table of concepts; by default things_concepts.tsv or things_concept.tsv in ``path``, or in
    ``data`` beside it."""
    per_concept: int | None = Field(default=None, ge=1)
    """Take only the first so many images of each concept, in the order of their numbers."""
    columns: tuple[str, ...] = ()
    """Further columns of the table that go into the rows."""

    def label(self) -> str:
        return _last(self.path)


def _last(path: Path) -> str:
    """The name of a folder; unlike with resolve, links keep theirs."""
    return Path(os.path.abspath(package_path(path))).name
