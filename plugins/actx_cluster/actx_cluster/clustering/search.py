"""The nearest clusters by Ward's distance, in tiles of matrix products: by numpy, or by torch on a device."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from actx_core import AnalysisError

DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg", "C:/Windows/System32/nvcuda.dll")
"""One is there where Linux, its subsystem in Windows, or Windows can use a GPU."""


def search(device: str) -> Search:
    """What searches on the device that an option names, on ``auto`` a GPU if there is one.

    torch is imported only for another device than the CPU. Raises AnalysisError where it is not installed,
    and ModelError where the device is not there.
    """
    installed = find_spec("torch") is not None
    if device == "cpu" or (device == "auto" and not (installed and _has_driver())):
        return Search()
    if not installed:
        raise AnalysisError(
            f"device '{device}' needs torch, which is not installed",
            hint="pip install 'actx-core[torch]', or set device = 'cpu'",
        )
    from actx_core.torch import resolve_device

    found = resolve_device(device)
    return Search() if found.type == "cpu" else DeviceSearch(found)


def _has_driver() -> bool:
    return sys.platform == "darwin" or any(Path(driver).exists() for driver in DRIVERS)


class Search:
    """By numpy. A tile is 4 MB of float32: still in cache when its smallest values are looked for."""

    rows, columns = 256, 4096

    def put(self, array: np.ndarray) -> Any:
        """The array where the search is made."""
        return array

    def get(self, array: Any) -> np.ndarray:
        """The array in memory."""
        found: np.ndarray = array
        return found

    def nearest(
        self, centroids: np.ndarray, squares: np.ndarray, weights: np.ndarray, places: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Of the clusters at some places the nearest other's place, and half of Ward's squared distance.

        ``centroids`` (n, d) and their squared lengths ``squares`` (n) are float32, around zero; ``weights``
        (n) are float64.
        """
        inverse = (1 / weights).astype(np.float32)
        shares = None if (inverse == 1).all() else self.put(inverse)
        vectors, lengths = self.put(centroids), self.put(squares)
        where, best = np.empty(len(places), np.int64), np.empty(len(places), np.float32)
        for start in range(0, len(places), self.rows):
            at = slice(start, start + self.rows)
            where[at], best[at] = map(self.get, self._some(vectors, lengths, shares, places[at]))
        return where, best

    def _some(
        self, centroids: Any, squares: Any, inverse: Any, places: np.ndarray
    ) -> tuple[Any, Any]:
        """The same for few places; numpy's arrays and torch's tensors are told alike what to do."""
        mine, every = self.put(places), self.put(np.arange(len(places)))
        where = self.put(np.zeros(len(places), np.int64))
        best = self.put(np.full(len(places), np.inf, np.float32))
        left, lengths = centroids[mine] * -2, squares[mine][:, None]
        for first in range(0, len(centroids), self.columns):
            other = slice(first, first + self.columns)
            tile = left @ centroids[other].T
            tile += squares[other]
            tile += lengths
            if inverse is not None:
                tile /= inverse[mine][:, None] + inverse[other]
            inside = np.flatnonzero((places >= first) & (places < first + tile.shape[1]))
            tile[self.put(inside), self.put(places[inside] - first)] = np.inf
            at = tile.argmin(1)
            found = tile[every, at]
            nearer = found < best
            best[nearer], where[nearer] = found[nearer], at[nearer] + first
        return where, best


class DeviceSearch(Search):
    """By torch on a device, in float32 and no less. A tile is 128 MB of the device's memory."""

    rows, columns = 4096, 8192

    def __init__(self, device: Any) -> None:
        self.device = device

    def put(self, array: np.ndarray) -> Any:
        import torch

        return torch.from_numpy(array).to(self.device)

    def get(self, array: Any) -> np.ndarray:
        found: np.ndarray = array.cpu().numpy()
        return found

    def nearest(
        self, centroids: np.ndarray, squares: np.ndarray, weights: np.ndarray, places: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        with _full_precision():
            return super().nearest(centroids, squares, weights, places)


@contextmanager
def _full_precision() -> Iterator[None]:
    """Within, torch multiplies float32 as float32; afterwards as before."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
