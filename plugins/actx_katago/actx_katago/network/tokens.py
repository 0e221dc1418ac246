"""The words, numbers and arrays that a KataGo network file is a stream of."""

from __future__ import annotations

import math
import re
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from actx_core import ModelError

Array = npt.NDArray[np.float32]
Weights = dict[str, Array]
"""Arrays by path and name, with the axes of torch."""

_WORD = re.compile(rb"\s*(\S{1,512})(?=\s|\Z)")
_INTEGER = re.compile(r"-?\d{1,9}")
_MARK = re.compile(rb"\s*@BIN@")
_SPACE = re.compile(rb"\s")
_PIECE = 1 << 20
_LONGEST = 64


class TokenReader:
    """A cursor over the content of a file; every error says in which layer it stands.

    ``binary`` is None until the first array has shown of which kind the file is.
    """

    def __init__(self, data: bytes, file: str) -> None:
        self._data = data
        self._at = 0
        self._file = file
        self.binary: bool | None = None
        self.layer = "header"

    def error(self, message: str, hint: str = "") -> ModelError:
        return ModelError(message, where=f"{self._file}: {self.layer}", hint=hint)

    def word(self, what: str) -> str:
        found = _WORD.match(self._data, self._at)
        if found is None:
            left = self._data[self._at : self._at + 20].strip()
            what_is = f"found the bytes {left!r}" if left else "the file ends here"
            raise self.error(f"expected {what}, but {what_is}")
        self._at = found.end()
        if not found[1].isascii():
            raise self.error(f"expected {what}, found the bytes {found[1][:20]!r}")
        return found[1].decode()

    def integer(self, what: str, least: int = 0) -> int:
        word = self.word(what)
        if not _INTEGER.fullmatch(word) or int(word) < least:
            wanted = "a whole number" if least == 0 else f"a whole number from {least} on"
            raise self.error(f"expected {wanted} for {what}, found '{word[:40]}'")
        return int(word)

    def number(self, what: str) -> float:
        word = self.word(what)
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self.error(f"expected a number for {what}, found '{word[:40]}'")
        return value

    def array(self, what: str, shape: tuple[int, ...]) -> Array:
        """An array in the file's order, in memory of its own. Its size is held against what is left."""
        count = math.prod(shape)
        mark = _MARK.match(self._data, self._at)
        if self.binary is None:
            self.binary = mark is not None
        if not self.binary:
            values = self._decimals(what, count)
        elif mark is None:
            found = self._data[self._at : self._at + 20]
            raise self.error(
                f"expected @BIN@ before the {count} numbers of {what}, found {found!r}"
            )
        else:
            values = self._floats(what, count, mark.end())
        bad = count - int(np.count_nonzero(np.isfinite(values)))
        if bad:
            raise self.error(f"{bad} of the {count} numbers of {what} are infinite or not a number")
        return values.reshape(shape)

    def end(self) -> None:
        """Refuse anything but white space after the last layer."""
        left = len(self._data[self._at :].lstrip())
        if left:
            raise self.error(f"the network ends here, but {left} more bytes follow")

    def _floats(self, what: str, count: int, start: int) -> Array:
        stop = start + 4 * count
        self._room(what, count, 4 * count, len(self._data) - start)
        if self._data[stop : stop + 1].strip():
            raise self.error(f"the {count} numbers of {what} do not end where they should")
        self._at = stop
        return np.frombuffer(self._data, "<f4", count, start).astype(np.float32)

    def _decimals(self, what: str, count: int) -> Array:
        self._room(what, count, 2 * count - 1, len(self._data) - self._at)
        values = np.empty(count, np.float32)
        done = 0
        while done < count:
            if self._at >= len(self._data):
                raise self.error(
                    f"expected {count} numbers for {what}, but the file ends at {done}"
                )
            words = self._words(count - done)
            if max(map(len, words), default=0) > _LONGEST:
                raise self.error(
                    f"expected {count} numbers for {what}, found a word of great length"
                )
            try:
                with np.errstate(over="ignore"):
                    values[done : done + len(words)] = np.array(words).astype(np.float64)
            except ValueError as error:
                raise self.error(f"expected {count} numbers for {what}: {error}") from None
            done += len(words)
        return values

    def _words(self, count: int) -> list[bytes]:
        """At most ``count`` words of the next piece of the file, and past them."""
        space = _SPACE.search(self._data, self._at + _PIECE)
        stop = space.start() if space else len(self._data)
        words = self._data[self._at : stop].split(None, count)
        rest = words.pop() if len(words) > count else b""
        self._at = stop - len(rest)
        return words

    def _room(self, what: str, count: int, needed: int, left: int) -> None:
        if needed > left:
            raise self.error(
                f"expected {count} numbers for {what}, but only {max(left, 0)} bytes are left",
                hint="the file is cut short, or damaged before this place",
            )


class TokenWriter:
    """Writes what TokenReader reads, one word a line, as KataGo's exporter does."""

    def __init__(self, file: BinaryIO, *, binary: bool) -> None:
        self._file = file
        self._binary = binary

    def word(self, value: str | float) -> None:
        """A word or number; a float as Python shows it, which is what the exporter writes."""
        self._file.write(f"{value}\n".encode("ascii"))

    def array(self, values: Array) -> None:
        if self._binary:
            self._file.write(b"@BIN@" + values.astype("<f4").tobytes() + b"\n")
        else:
            self._file.write(" ".join(map(str, values.ravel())).encode() + b"\n")
