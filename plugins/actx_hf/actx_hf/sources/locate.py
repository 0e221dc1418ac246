"""Finds the data that a ``datasets`` source names: on this machine, at a URL, or on the hub."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import takewhile
from pathlib import Path
from typing import Any

import datasets
import fsspec
from datasets import Dataset, DatasetBuilder, DatasetDict
from datasets.arrow_writer import SchemaInferenceError
from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError
from huggingface_hub import HfApi
from huggingface_hub.errors import RepositoryNotFoundError

from actx_core import SourceError
from actx_core.packages import package_path
from actx_hf.sources.config import CARD, FORMATS, DatasetsConfig, address, ending, is_remote
from actx_hf.sources.parts import (
    ROWS,
    ParquetPart,
    Part,
    StreamPart,
    TablePart,
    explained,
    is_utf8,
    undecodable,
)
from actx_hf.sources.retry import is_network, is_offline, patiently, told

_ENDS = 4 * 2**20
"""Bytes at each end of a large local file that identify it, beside its size."""


@dataclass(frozen=True)
class Data:
    """The parts of a split in order, and what identifies their content."""

    parts: Sequence[Part]
    identity: str


def locate(config: DatasetsConfig) -> Data:
    """The split as a stream of files. Raises SourceError, in one line, where it cannot be found."""
    with _Told(config):
        saved = _saved(config)
        if saved is not None:
            files = [entry["filename"] for entry in saved.cache_files]
            return Data([TablePart(address(config.path), saved)], _identity(files))
        _leave_retries_to_us()
        return patiently(address(config.path), lambda: _stream(config))


def load(config: DatasetsConfig) -> TablePart:
    """The whole split as one table on this machine, downloaded first where it is elsewhere."""
    with _Told(config):
        saved = _saved(config)
        if saved is None:
            saved = patiently(address(config.path), lambda: _prepared(config))
        return TablePart(address(config.path), saved)


def _leave_retries_to_us() -> None:
    """Let ``datasets`` raise what it finds: its own 20 pauses of 5 seconds would precede each of ours."""
    settings = datasets.config
    settings.STREAMING_READ_MAX_RETRIES = settings.STREAMING_OPEN_MAX_RETRIES = 1
    settings.STREAMING_READ_RETRY_INTERVAL = settings.STREAMING_OPEN_RETRY_INTERVAL = 0
    settings.STREAMING_READ_SERVER_UNAVAILABLE_RETRY_INTERVAL = 0
    settings.STREAMING_READ_RATE_LIMIT_RETRY_INTERVAL = 0
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # what it logs, it raises too


def _stream(config: DatasetsConfig) -> Data:
    builder = _builder(config)
    files = list(builder.config.data_files[config.split])
    names = _names(files)
    parts: list[Part]
    if builder.name == "parquet":
        parts = [ParquetPart(name, file) for name, file in zip(names, files, strict=True)]
    else:
        stream = builder.as_streaming_dataset(config.split)
        parts = [
            StreamPart(name, file, stream.shard(len(files), index))
            for index, (name, file) in enumerate(zip(names, files, strict=True))
        ]
    return Data(parts, _identity(files))


def _prepared(config: DatasetsConfig) -> Dataset:
    builder = _builder(config)
    if (
        builder.name == "parquet"
    ):  # which else takes the size of the first row group, even if it is 0
        builder.config.batch_size = ROWS
    datasets.disable_progress_bars()  # they would be drawn over those of the run
    try:
        builder.download_and_prepare()
    except Exception as error:
        files = builder.config.data_files[config.split] if is_utf8(error) else ()
        for found in filter(None, map(undecodable, files)):
            raise found from error
        raise
    return builder.as_dataset(config.split)


def _builder(config: DatasetsConfig) -> DatasetBuilder:
    """What reads the data, made sure to be a format that holds no code and to have the split."""
    path = package_path(config.path)
    if is_remote(path) or path.is_file():
        builder = _of_file(config, address(path))
    elif path.is_dir():
        builder = _of_name(config, str(path), config.config)
        if not config.files and not (path / CARD).is_file():
            _say_what_is_left_out(path, builder)
    elif (path.parent / CARD).is_file() and not config.config:
        builder = _of_name(config, str(path.parent), path.name)
    elif path.is_absolute() or ending(path.name) in FORMATS:
        raise SourceError("there is no such file or folder", hint="check path")
    else:
        builder = _on_hub(config, path.as_posix())
    if builder.name not in FORMATS.values():
        raise SourceError(
            f"expected Parquet, JSON lines, CSV, text or Arrow, found {builder.name}",
            hint="export it to Parquet; other formats may hold code",
        )
    splits = [str(split) for split in builder.config.data_files or ()]
    if config.split not in splits:
        raise SourceError(
            f"expected a split '{config.split}', found {_listed(splits)}",
            hint=_nearest(config.split, splits),
        )
    return builder


def _of_file(config: DatasetsConfig, file: str) -> DatasetBuilder:
    kind = ending(file.partition("?")[0])
    if kind not in FORMATS:
        raise SourceError(
            f"expected a file ending in {' '.join(FORMATS)}, found '{Path(file).name}'",
            hint="other formats are not read; some of them hold code",
        )
    if "://" in file:
        _mark(file)  # `datasets` takes a server that cannot be reached for a missing file
    more = _reading(config, FORMATS[kind]) | ({"sep": "\t"} if kind == ".tsv" else {})
    return datasets.load_dataset_builder(FORMATS[kind], data_files={config.split: [file]}, **more)


def _reading(config: DatasetsConfig, kind: str) -> dict[str, Any]:
    """How a format is read: of CSV, texts and ids as they stand there; text without byte order mark."""
    if kind == "csv":
        return {"converters": dict.fromkeys(filter(None, (config.content, config.id)), str)}
    return {"encoding": "utf-8-sig"} if kind == "text" else {}


def _say_what_is_left_out(folder: Path, builder: DatasetBuilder) -> None:
    """Warn of files of other formats: `datasets` takes those of the most frequent one."""
    left = Counter(
        ending(path.name)
        for path in folder.rglob("*")
        if FORMATS.get(ending(path.name), builder.name) != builder.name
        and not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
    )
    if left:
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(left.items()))
        warnings.warn(
            f"{folder}: files that are not {builder.name} are left out ({counts}); with files you choose",
            stacklevel=2,
        )


def _on_hub(config: DatasetsConfig, name: str) -> DatasetBuilder:
    """``owner/name/config`` is a data set with its config, and ``name/config`` where there is no owner."""
    first, *more = name.split("/")
    if len(more) == 2:
        return _of_name(config, f"{first}/{more[0]}", more[1])
    try:
        return _of_name(config, name if more else _with_owner(name), config.config)
    except DatasetNotFoundError:
        if more and not config.config:
            with suppress(DatasetNotFoundError):
                return _of_name(config, _with_owner(first), more[0])
        raise


def _with_owner(name: str) -> str:
    """What the hub calls a data set of an old name today: ``wikitext`` is ``Salesforce/wikitext``."""
    try:
        return HfApi().dataset_info(name).id
    except RepositoryNotFoundError as error:
        raise DatasetNotFoundError(f"there is no data set '{name}' on the hub") from error


def _of_name(config: DatasetsConfig, name: str, configuration: str) -> DatasetBuilder:
    def build(**more: Any) -> DatasetBuilder:
        return datasets.load_dataset_builder(
            name,
            configuration or None,
            data_files={config.split: list(config.files)} if config.files else None,
            revision=config.revision or None,
            **more,
        )

    builder = build()
    more = _reading(config, builder.name)
    return build(**more) if more else builder


def _saved(config: DatasetsConfig) -> Dataset | None:
    """What ``save_to_disk`` left at the path, if it did."""
    path = package_path(config.path)
    if not any((path / name).is_file() for name in ("state.json", "dataset_dict.json")):
        return None
    found = datasets.load_from_disk(str(path))
    if not isinstance(found, DatasetDict):
        return found
    if config.split not in found:
        raise SourceError(
            f"expected a split '{config.split}', found {_listed(found)}",
            hint=_nearest(config.split, list(found)),
        )
    return found[config.split]


class _Told:
    """Turns what a library raises into one line that says where, and what to do."""

    def __init__(self, config: DatasetsConfig) -> None:
        self.where = address(config.path)

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, SourceError):
            error.where = error.where or self.where
        elif isinstance(error, Exception):
            message, hint = _words(error)
            raise SourceError(message, where=self.where, hint=hint) from error


def _words(error: Exception) -> tuple[str, str]:
    """Message and hint."""
    if isinstance(error, DatasetGenerationError) and isinstance(error.__cause__, Exception):
        return _words(error.__cause__)
    if isinstance(error, StopIteration | SchemaInferenceError) or "corresponds to no data" in str(
        error
    ):
        return "expected rows, found none", ""
    if words := explained(error):
        return words
    if is_offline(error):
        return "the hub is switched off by HF_HUB_OFFLINE", "unset it, or give a local path"
    if "script" in str(error) and isinstance(error, RuntimeError):
        return (
            "the data set is a script, and scripts are code that would run here",
            "many have a copy in Parquet: revision = 'refs/convert/parquet'",
        )
    if isinstance(error, DatasetNotFoundError):
        return told(error), "check path and revision; for a gated data set, set HF_TOKEN"
    if isinstance(error, ImportError):
        return f"a package is missing: {error}", "pip install 'actx-hf[datasets]'"
    return told(error), "" if is_network(error) else "check path, config, files and revision"


def _names(files: Sequence[str]) -> list[str]:
    """The files without the folder that all share."""
    parts = [file.split("/") for file in files]
    levels = zip(*(each[:-1] for each in parts), strict=False)
    shared = len(list(takewhile(lambda folders: len(set(folders)) == 1, levels)))
    return ["/".join(each[shared:]) for each in parts]


def _identity(files: Sequence[str]) -> str:
    """The commit of a data set on the hub; else a digest of names and contents."""
    commits = {found[1] for file in files if (found := re.search(r"@([0-9a-f]{40})/", file))}
    if len(commits) == 1 and all(file.startswith("hf://") for file in files):
        return commits.pop()
    digest = hashlib.sha256()
    for name, file in zip(_names(files), files, strict=True):
        digest.update(f"{name}\n{_mark(file)}\n".encode())
    return digest.hexdigest()[:32]


def _mark(file: str) -> str:
    """What tells a file from a changed one."""
    if "://" in file:
        system, path = fsspec.url_to_fs(file)
        about = system.info(path)
        return " ".join(str(about.get(key)) for key in ("size", "ETag", "etag", "Last-Modified"))
    size = os.path.getsize(file)
    with open(file, "rb") as opened:
        digest = hashlib.sha256(opened.read(_ENDS))
        opened.seek(max(_ENDS, size - _ENDS))
        digest.update(opened.read())
    return f"{size} {digest.hexdigest()}"


def _listed(names: Any) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"


def _nearest(name: str, names: Sequence[str]) -> str:
    close = get_close_matches(name, names, n=3)
    return f"did you mean {' or '.join(map(repr, close))}?" if close else ""
