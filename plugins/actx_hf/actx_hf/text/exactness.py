"""The self-test behind batching: whether a text gives beside others what it gives alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from actx_core import ActxError, ModelError
from actx_hf.text.document import Document, Piece, offsets
from actx_hf.text.passes import SCHEMES, Pass, Reader, Scheme, passes

LENGTHS = (11, 3, 7, 2, 5)
"""Tokens of the test's documents."""

ROW = 12
"""Tokens of its rows: one is filled up, one exact."""

EXACT = 1e-4
"""Relative error below which float32 counts as equal: sums in another order give 1e-6, other texts 0.1."""

CLOSE = 5e-2
"""The same for 16 bits and less, for the median of a document's tokens."""

Run = Callable[[Sequence[Pass], np.ndarray], Mapping[str, Sequence[torch.Tensor]]]
"""Runs passes of documents whose rows begin at offsets; for each tap the values of each document."""


def error(
    run: Run, ids: np.ndarray, longest: int, scheme: Scheme, reader: Reader, exact: bool
) -> float:
    """How far documents read together are from each of them alone: the largest relative error.

    ``ids`` are ordinary token ids to draw from, ``longest`` what the model reads at once. Per token, and
    relative to its norm or the median norm, whichever is larger.
    """
    random = np.random.default_rng(0)
    documents = [_document(random.choice(ids, min(n, longest))) for n in LENGTHS]
    reader = replace(reader, row=ROW)
    together = run(passes(documents, scheme, reader), offsets(documents))
    worst = 0.0
    for number, document in enumerate(documents):
        alone = run(passes([document], "equal", reader), offsets([document]))
        for name, (values,) in alone.items():
            worst = max(worst, _distance(together[name][number], values, exact))
    return worst


def _distance(found: torch.Tensor, expected: torch.Tensor, exact: bool) -> float:
    norms = row_norms(expected.double())
    floor = norms.clamp_min(norms.median()).clamp_min(1e-30)
    errors = row_norms(found.double() - expected.double()) / floor
    worst = float(errors.max() if exact else errors.median())
    return worst if worst == worst else float("inf")


def row_norms(values: torch.Tensor) -> torch.Tensor:
    """The Euclidean norm of each row, whatever its axes."""
    norms: torch.Tensor = (values if values.ndim > 1 else values[:, None]).flatten(1).norm(dim=1)
    return norms


def _document(ids: np.ndarray) -> Document:
    """A document of these tokens and nothing else."""
    rows = np.arange(len(ids))
    piece = Piece(ids, rows, np.ones(len(ids), bool))
    zeros = np.zeros(len(ids), np.int64)
    text = np.full(len(ids), "", dtype=object)
    return Document([piece], ids, rows, zeros, zeros > 0, None, None, text, zeros - 1, text)


def choose(
    run: Run, batching: str, ids: np.ndarray, longest: int, reader: Reader, *, exact: bool
) -> tuple[Scheme, dict[str, str]]:
    """The fastest way to put texts together that gives what each gives alone, and what was tested.

    ``batching`` is auto, packed or bucketed. Raises ModelError where packed is asked for and fails.
    """
    first = SCHEMES.index("bucketed" if batching == "bucketed" else "packed")
    tested: dict[str, str] = {}
    for scheme in SCHEMES[first:-1]:
        if scheme == "packed" and not reader.packs:
            tested[scheme] = "the model takes no positions"
        else:
            try:
                found = error(run, ids, longest, scheme, reader, exact)
            except ActxError:
                raise
            except Exception as failed:  # any library's own: some models read no text of two tokens
                lines = str(failed).splitlines() or [type(failed).__name__]
                tested[scheme] = f"the test fails: {lines[0]}"
            else:
                tested[scheme] = f"relative error {found:.1e}"
                if found <= (EXACT if exact else CLOSE):
                    return scheme, tested
        if batching == "packed":
            raise ModelError(
                f"texts in one row are not kept apart by this model: {tested[scheme]}",
                hint="leave batching out: texts of like length are then read together",
            )
    return "equal", tested
