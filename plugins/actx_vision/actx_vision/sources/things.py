"""The source ``things``: the THINGS images (Hebart et al. 2019), one folder per object concept."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from actx_core import SourceError, sha256_file
from actx_core.packages import package_path
from actx_vision.sources.config import EXTENSIONS, ThingsConfig
from actx_vision.sources.files import ImageFile, expect_folder, files_below, printable, unique_ids
from actx_vision.sources.image_source import ImageSource, Stimulus
from actx_vision.sources.text_table import TextTable, expect_column, read_text_table, typed

TABLES = ("things_concepts.tsv", "things_concept.tsv")
KEY = "uniqueID"
OWN = ("path", "bytes", "label", "target")


class Things(ImageSource[ThingsConfig]):
    """THINGS: concepts in the order of the table, images of a concept in the order of their numbers.

    The table is keyed on ``uniqueID``, which is the name of the concept's folder and the column
    ``label``; ``target`` is the concept's place in the table, from 0. Every concept must have its folder
    with images, and every folder its concept.
    """

    def stimuli(self) -> Iterator[Stimulus]:
        root = package_path(self.config.path)
        expect_folder(root)
        table = self._table
        more = self._more(table)
        concepts = _concepts(table)
        images = self._images(root, concepts)
        for target, concept in enumerate(concepts):
            files = images[concept][: self.config.per_concept]
            row = {name: values[target] for name, values in more.items()}
            for file, id in zip(files, unique_ids([f.name for f in files]), strict=True):
                columns = {
                    "path": file.name,
                    "bytes": file.size,
                    "label": concept,
                    "target": target,
                }
                yield Stimulus(id, file, {**columns, **row}, file.stamp)

    def fingerprint(self) -> str:
        """The table decides order, labels and targets."""
        return sha256_file(self._table.path)

    @cached_property
    def _table(self) -> TextTable:
        table = read_text_table(self._table_path())
        expect_column(KEY, list(table.columns), str(table.path))
        return table

    def _table_path(self) -> Path:
        if self.config.concepts is not None:
            return self.config.concepts
        root = package_path(self.config.path)
        beside = Path(os.path.abspath(root)).parent / "data"
        places = [folder / name for folder in (root, beside) for name in TABLES]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise SourceError(
                f"expected the table of concepts, {' or '.join(TABLES)}, found none",
                where=f"{root} and {beside}",
                hint='say where it is: concepts = "…"',
            )
        return found

    def _more(self, table: TextTable) -> Mapping[str, Sequence[Any]]:
        """The columns of the table that are asked for."""
        for name in self.config.columns:
            expect_column(name, list(table.columns), str(table.path))
            if name in OWN:
                raise SourceError(f"the rows have a column '{name}' already", where=str(table.path))
        return {name: typed(table.columns[name]) for name in self.config.columns}

    def _images(self, root: Path, concepts: Sequence[str]) -> dict[str, list[ImageFile]]:
        """The images of each concept. Raises SourceError where folders and concepts do not agree."""
        folders = {
            printable(entry.name)
            for entry in os.scandir(root)
            if entry.is_dir() and not entry.name.startswith(".")
        }
        images: dict[str, list[ImageFile]] = {name: [] for name in concepts}
        _agree(folders, concepts, root)
        for file in files_below(root, EXTENSIONS):
            concept, slash, _ = file.name.partition("/")
            if not slash:
                raise SourceError(
                    f"expected images in the folders of concepts, found '{file.name}' beside them",
                    where=str(root),
                )
            images[concept].append(file)
        few = self.config.per_concept or 1
        short = [name for name, files in images.items() if len(files) < few]
        if short:
            raise SourceError(
                f"expected {few} images or more of each concept, found {len(images[short[0]])} of"
                f" '{short[0]}'" + (f" ({len(short)} concepts have too few)" if short[1:] else ""),
                where=str(root),
                hint="unzip all archives of THINGS into this folder",
            )
        return images


def _concepts(table: TextTable) -> list[str]:
    """The unique ids in the order of the table."""
    first: dict[str, int] = {}
    for row, name in enumerate(table.columns[KEY]):
        if not name or name in first:
            found = f"'{name}' again, of line {table.lines[first[name]]}" if name else "none"
            raise SourceError(
                f"expected a {KEY} that differs, found {found}", where=table.where(row)
            )
        first[name] = row
    return list(first)


def _agree(folders: set[str], concepts: Sequence[str], root: Path) -> None:
    """Raise SourceError that names concepts without folder and folders without concept."""
    lacking = [name for name in concepts if name not in folders]
    unknown = sorted(folders - set(concepts))
    parts = []
    if lacking:
        parts.append(f"{len(lacking)} concepts have no folder ({_some(lacking)})")
    if unknown:
        parts.append(f"{len(unknown)} folders are no concepts ({_some(unknown)})")
    if parts:
        raise SourceError(
            f"expected one folder for each of {len(concepts)} concepts: {'; '.join(parts)}",
            where=str(root),
            hint="unzip all archives of THINGS into this folder, and nothing else",
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:5]) + (", …" if names[5:] else "")
