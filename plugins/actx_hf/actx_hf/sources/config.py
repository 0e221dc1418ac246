"""Options of the source ``datasets``; imports nothing heavy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidatorFunctionWrapHandler, WrapValidator, model_validator

from actx_core import Config
from actx_core.packages import DataPath

FORMATS = {
    ".parquet": "parquet",
    ".jsonl": "json",
    ".json": "json",
    ".ndjson": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "text",
    ".arrow": "arrow",
}
"""What each ending is read as; the only formats that are read: none of them can hold code."""

CARD = "README.md"
"""The file that names the configs of a data set."""

_PACKED = (".gz", ".bz2", ".xz", ".zst")
_REMOTE = re.compile(r"^([a-z][a-z0-9+]*):/+")
_HUB = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*){0,2}")
_OWN = ("sample", "replicate", "stamp", "sha256")


def ending(name: str) -> str:
    """The ending that tells the format: that of ``a.jsonl.gz`` is ``.jsonl``."""
    path = Path(name)
    return (Path(path.stem) if path.suffix in _PACKED else path).suffix


def address(path: Path) -> str:
    """The URL that a path stands for, or its text: a Path keeps only one slash of ``https://``."""
    return _REMOTE.sub(r"\1://", path.as_posix())


def is_remote(path: Path) -> bool:
    """Whether a path stands for a URL."""
    return bool(_REMOTE.match(path.as_posix()))


def _reference(value: Any, handler: ValidatorFunctionWrapHandler) -> Path:
    """Keep URLs and names on the hub as they are; all else is a path from the pipeline's folder."""
    if value == "":
        raise ValueError("expected a data set of the hub, a file, a folder or a URL, found nothing")
    if isinstance(value, str | Path) and is_remote(Path(value)):
        return Path(value)
    path: Path = handler(value)
    if path.exists() or (path.parent / CARD).is_file() or ending(path.name) in FORMATS:
        return path
    return Path(value) if _HUB.fullmatch(str(value)) else path


class DatasetsConfig(Config):
    """Options of the source ``datasets``."""

    path: Annotated[DataPath, WrapValidator(_reference)]
    """A data set on the hub (``owner/name``, ``owner/name/config``), a file, a folder, or a URL."""
    files: tuple[str, ...] = ()
    """Globs on the files of a folder or of a data set on the hub; by default those of the split."""
    config: str = ""
    """Which configuration of the data set."""
    split: str = "train"
    """Which split."""
    revision: str = Field(default="", exclude=True)  # the commit that it means is the fingerprint
    """Commit, tag or branch of a data set on the hub; by default the newest."""
    column: str = "text"
    """The column that holds the text."""
    messages: str = ""
    """The column that holds conversations: lists of objects with role and content. Replaces column."""
    id: str = ""
    """The column that holds the samples' ids; by default ids are file and row number."""
    columns: tuple[str, ...] = ()
    """Further columns, of numbers or text, that go into the table of samples."""
    streaming: bool = True
    """Read file by file from where the data are; false: download first, and list every sample."""

    def label(self) -> str:
        name = self.path.name
        return name[: name.rindex(ending(name))] if ending(name) in FORMATS else name

    @property
    def content(self) -> str:
        """The column that becomes the sample's data."""
        return self.messages or self.column

    @property
    def wanted(self) -> list[str]:
        """All columns that are read."""
        return list(dict.fromkeys([self.content, *filter(None, [self.id]), *self.columns]))

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.messages and self.column != "text":
            raise ValueError("a sample is column or messages, not both")
        if self.id == self.content or self.content in self.columns:
            raise ValueError(
                f"'{self.content}' is the sample itself; it cannot be an id or a column"
            )
        if clash := set(_OWN) & set(self.columns):
            raise ValueError(f"the columns {sorted(clash)} would hide those that actx writes")
        if not re.fullmatch(r"[\w.-]+", self.split):
            raise ValueError(
                f"expected the name of a split, found '{self.split}'; take a part of it with limit"
            )
        return self
