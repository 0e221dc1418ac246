"""The format ``stimulus-hdf5``: a file per source with datasets ``/model/stimulus/layer``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from actx_core import Format, StoreError
from actx_vision.formats.stimulus_check import check_file, may_be_ours
from actx_vision.formats.stimulus_config import StimulusHdf5Config
from actx_vision.formats.stimulus_content import contents
from actx_vision.formats.stimulus_inputs import inputs
from actx_vision.formats.stimulus_writer import add_models

if TYPE_CHECKING:
    from actx_core import Input, Run


class StimulusHdf5(Format[StimulusHdf5Config]):
    """A folder of files ``PREFIX_SOURCE.h5``, whose datasets have the shape (replicates, features).

    Types are as stored (bfloat16: float32), the axes of a row are flattened in C order. A file that is
    there is added to. ``/`` and ``%`` in the names of stimuli and layers are percent-encoded.
    """

    def write(self, run: Run, path: Path) -> Sequence[Path]:
        if path.exists() and not path.is_dir():
            hint = "give a folder: the files are called PREFIX_SOURCE.h5"
            raise StoreError("expected a folder, found a file", where=str(path), hint=hint)
        found = contents(run, self.config.missing)
        path.mkdir(parents=True, exist_ok=True)
        files = []
        for source, models in found.items():
            file = path / f"{self.config.prefix}_{source}.h5"
            add_models(file, models, self.config.replace)
            files.append(file)
        return files

    def knows(self, path: Path) -> bool:
        """A file called .h5 or .hdf5 that has this layout, or is damaged."""
        return may_be_ours(path)

    def check(self, path: Path) -> Sequence[str]:
        return check_file(path)

    def read(self, path: Path) -> Sequence[Input]:
        return inputs(path)
