"""Pieces of documents as forward passes: packed into rows, padded together, or only with their equals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from actx_hf.text.document import Document, Piece, offsets

Scheme = Literal["packed", "bucketed", "equal"]
SCHEMES: tuple[Scheme, ...] = ("packed", "bucketed", "equal")
"""The ways to put pieces together, the fastest first."""
FILLED = 0.9
"""A packed row below this share of the longest is not read with it."""


@dataclass(frozen=True)
class Block:
    """Where a piece of a document lies in a pass: in row ``row`` from token ``start`` on."""

    document: int
    piece: Piece
    row: int
    start: int


@dataclass(frozen=True)
class Pass:
    """One forward pass: the model's arguments, and which of its tokens are rows of which number.

    ``source`` numbers the tokens of the pass row by row, ``target`` the rows of the batch.
    """

    inputs: Mapping[str, torch.Tensor]
    source: torch.Tensor
    target: torch.Tensor
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Reader:
    """What the inputs of a model look like beside token ids.

    ``budget`` is how many tokens, padding included, one pass may hold. ``pad`` is the id that fills rows up:
    any will do, for a mask or positions tell what is real. ``start`` is the id that a decoder begins with,
    None without an encoder. ``packs`` is whether positions can be given, which keep packed texts apart;
    ``row`` is how many tokens are packed into one row: attention costs by its square. Texts longer than
    ``turn`` make the model read all of a pass otherwise, None where that does not happen.
    """

    budget: int
    pad: int = 0
    start: int | None = None
    packs: bool = False
    row: int = 128
    turn: int | None = None


def passes(documents: Sequence[Document], scheme: Scheme, reader: Reader) -> list[Pass]:
    """The forward passes that read all pieces of some documents, the same for the same documents."""
    pieces = [(n, piece) for n, document in enumerate(documents) for piece in document.pieces]
    pieces.sort(key=_shorter)  # stable: of equal length in order
    begins = offsets(documents)
    turn = reader.turn or sum(len(piece.ids) for _, piece in pieces)
    longer = [each for each in pieces if len(each[1].ids) > turn]
    found: list[Pass] = []
    for some in (longer, pieces[len(longer) :]):
        if scheme == "packed":
            stacks = _stacks(_rows(some, min(reader.row, reader.budget, turn)), reader.budget)
            found += [_packed(stack, begins, reader) for stack in stacks]
        else:
            groups = _buckets(some, scheme, reader.budget)
            found += [_padded(group, begins, reader) for group in groups]
    return found


_Pieces = list[tuple[int, Piece]]


def _shorter(each: tuple[int, Piece]) -> int:
    return -len(each[1].ids)


def _rows(pieces: _Pieces, length: int) -> list[_Pieces]:
    """First fit, the longest first; a longer piece has a row of its own."""
    rows: list[_Pieces] = []
    room: list[int] = []
    for each in pieces:
        size = len(each[1].ids)
        place = next((n for n, left in enumerate(room) if size <= left), len(rows))
        if place == len(rows):
            rows.append([])
            room.append(length)
        rows[place].append(each)
        room[place] -= size
    return rows


def _stacks(rows: Iterable[_Pieces], budget: int) -> Iterator[list[_Pieces]]:
    """Neighbouring rows of like length, to be filled up to the longest, within the budget."""
    stack: list[_Pieces] = []
    width = 0
    for row in rows:
        size = sum(len(piece.ids) for _, piece in row)
        full = (len(stack) + 1) * max(width, size) > budget
        if stack and (full or size < FILLED * width):
            yield stack
            stack, width = [], 0
        stack.append(row)
        width = max(width, size)
    if stack:
        yield stack


def _buckets(pieces: _Pieces, scheme: Scheme, budget: int) -> Iterator[_Pieces]:
    """Neighbours in length, to be padded to the longest, within the budget."""
    group: _Pieces = []
    for each in pieces:
        longest = len(group[0][1].ids) if group else 0
        other = scheme == "equal" and len(each[1].ids) != longest
        if group and (other or (len(group) + 1) * longest > budget):
            yield group
            group = []
        group.append(each)
    if group:
        yield group


def _packed(stack: Sequence[_Pieces], begins: np.ndarray, reader: Reader) -> Pass:
    """Pieces end to end in rows; positions that begin again at 0 keep them, and what fills up, apart."""
    width = max(sum(len(piece.ids) for _, piece in row) for row in stack)
    ids = np.full((len(stack), width), reader.pad)
    positions = np.empty_like(ids)
    blocks = []
    for number, row in enumerate(stack):
        start = 0
        for document, piece in row:
            stop = start + len(piece.ids)
            ids[number, start:stop] = piece.ids
            positions[number, start:stop] = np.arange(stop - start)
            blocks.append(Block(document, piece, number, start))
            start = stop
        positions[number, start:] = np.arange(width - start)
    return _pass({"input_ids": ids, "position_ids": positions}, blocks, width, begins)


def _padded(group: _Pieces, begins: np.ndarray, reader: Reader) -> Pass:
    """Pieces below each other, filled up at their end."""
    longest = len(group[0][1].ids)
    ids = np.full((len(group), longest), reader.pad)
    mask = np.zeros((len(group), longest), np.int64)
    for row, (_, piece) in enumerate(group):
        ids[row, : len(piece.ids)] = piece.ids
        mask[row, : len(piece.ids)] = 1
    inputs = {"input_ids": ids, "attention_mask": mask}
    if reader.start is not None:  # the text itself, shifted by one, as in training
        begin = np.full((len(group), 1), reader.start)
        inputs["decoder_input_ids"] = np.concatenate([begin, ids[:, :-1]], axis=1)
        inputs["decoder_attention_mask"] = mask
    return _pass(inputs, [Block(*each, row, 0) for row, each in enumerate(group)], longest, begins)


def _pass(
    inputs: Mapping[str, np.ndarray], blocks: Sequence[Block], width: int, begins: np.ndarray
) -> Pass:
    source = [b.row * width + b.start + np.flatnonzero(b.piece.taken) for b in blocks]
    target = [begins[b.document] + b.piece.rows[b.piece.taken] for b in blocks]
    return Pass(
        {name: torch.from_numpy(values) for name, values in inputs.items()},
        torch.from_numpy(np.concatenate(source)),
        torch.from_numpy(np.concatenate(target)),
        tuple(blocks),
    )
