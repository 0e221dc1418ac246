"""Clustering against scikit-learn and scipy on the same rows: equality first, then time and memory.

Also against fastcluster and faiss, where they are installed.

Every figure is taken in a process of its own, which first has its rows in memory. ``--large`` adds exact
Ward of 50,000 and 100,000 rows, ``--quick`` takes a quarter of the rows, to try the script.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
from common import Row, finish, peak_memory

D, K = 384, 50
CUTS = [10, 50, 200, 1000]
SWEEP = [10, 20, 30, 40, 50, 60, 80, 100, 150, 200]


def activations(n: int, seed: int = 0) -> np.ndarray:
    """Rows with 50 clusters of 8 parts, a power-law spectrum, an offset, three large dimensions; float32."""
    rng = np.random.default_rng(seed)
    scale = np.arange(1, D + 1) ** -0.5
    tops = rng.normal(size=(K, 1, D)) * 2
    parts = ((tops + 0.7 * rng.normal(size=(K, 8, D))) * scale).reshape(-1, D)
    offset = 3 * rng.normal(size=D)
    own = rng.choice(len(parts), n, p=rng.dirichlet(np.full(len(parts), 3.0)))
    rows = np.empty((n, D), np.float32)
    for start in range(
        0, n, 1000
    ):  # in pieces: what making them takes must not hide what work takes
        mine = own[start : start + 1000]
        rows[start : start + 1000] = parts[mine] + 0.8 * scale * rng.normal(size=(len(mine), D))
    rows += offset.astype(np.float32)
    rows[:, [3, 50, 200]] *= 3
    return rows


def ordered(rows: np.ndarray) -> np.ndarray:
    from actx_cluster.rows import row_keys

    return np.argsort(row_keys(rows, 0), kind="stable")


def own_ward(rows: np.ndarray) -> np.ndarray:
    from actx_cluster.clustering.ward import cut, ward

    return cut(ward(rows), K)


def own_sweep(rows: np.ndarray) -> np.ndarray:
    from actx_cluster.clustering.ward import cut, ward

    tree = ward(rows)
    return np.stack([cut(tree, k) for k in SWEEP])


def own_leaders(rows: np.ndarray) -> np.ndarray:
    from actx_cluster.clustering.leading import lead
    from actx_cluster.clustering.ward import cut, ward

    led = lead(rows, ordered(rows), most=4000, least=K)
    return cut(ward(led.means, led.weights), K)[led.labels]


def own_kmeans(rows: np.ndarray) -> np.ndarray:
    from actx_cluster.clustering.config import KMeansConfig
    from actx_cluster.clustering.kmeans import KMeans

    return KMeans(KMeansConfig(k=K)).solve(rows, ordered(rows))[0].labels


def own_silhouette(rows: np.ndarray) -> float:
    from actx_cluster.clustering.quality import silhouettes

    class Held:
        count, order = len(rows), None

        def take(self, numbers: np.ndarray) -> np.ndarray:
            return rows[numbers]

        def blocks(self, step: int) -> Any:
            for start in range(0, len(rows), step):
                yield slice(start, min(start + step, len(rows))), rows[start : start + step]

    labels = np.random.default_rng(0).integers(0, K, len(rows))
    return float(silhouettes(Held(), [labels], None)[0].mean or 0)  # type: ignore[arg-type]


def their_silhouette(rows: np.ndarray) -> float:
    from sklearn.metrics import silhouette_score

    labels = np.random.default_rng(0).integers(0, K, len(rows))
    return float(silhouette_score(rows, labels))


def their_ward(rows: np.ndarray) -> np.ndarray:
    from sklearn.cluster import AgglomerativeClustering

    return AgglomerativeClustering(K).fit_predict(rows)


def scipys_ward(rows: np.ndarray) -> np.ndarray:
    from scipy.cluster.hierarchy import cut_tree, linkage

    return cut_tree(linkage(rows.astype(np.float64), "ward"), CUTS).T


def fastclusters_ward(rows: np.ndarray) -> np.ndarray:
    from fastcluster import linkage_vector
    from scipy.cluster.hierarchy import cut_tree

    return cut_tree(linkage_vector(rows.astype(np.float64), "ward"), CUTS).T


def own_cuts(rows: np.ndarray) -> np.ndarray:
    from actx_cluster.clustering.ward import cut, ward

    tree = ward(rows)
    return np.stack([cut(tree, k) for k in CUTS])


def their_kmeans(rows: np.ndarray, seed: int = 0) -> np.ndarray:
    from sklearn.cluster import KMeans

    return KMeans(K, n_init=1, random_state=seed).fit(rows).labels_


def their_restarts(rows: np.ndarray) -> np.ndarray:
    return np.stack([their_kmeans(rows, seed) for seed in range(5)])


def faiss_kmeans(rows: np.ndarray) -> np.ndarray:
    import faiss

    # by default it takes a sample of 256 rows a cluster, without saying so
    method = faiss.Kmeans(D, K, niter=25, seed=0, max_points_per_centroid=len(rows))
    method.train(rows)
    return method.index.search(rows, 1)[1][:, 0]


WORK: dict[str, Callable[[np.ndarray], Any]] = {
    work.__name__: work
    for work in (
        own_ward,
        own_sweep,
        own_leaders,
        own_kmeans,
        own_silhouette,
        own_cuts,
        their_ward,
        their_silhouette,
        their_kmeans,
        their_restarts,
        scipys_ward,
        fastclusters_ward,
        faiss_kmeans,
    )
}


def serve(name: str, n: int) -> None:
    """Do the work in this process; the last line says what it cost and found."""
    rows = activations(n)
    WORK[name](rows[:500])  # imports and first calls
    before, began, cpu = peak_memory(), time.perf_counter(), time.process_time()
    found = WORK[name](rows)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    result = np.asarray(found).tolist()
    print(json.dumps([seconds, cpu, peak_memory() - before, peak_memory(), result]))


class Done:
    """What a piece of work cost (seconds of wall clock and CPU, MB beside the rows, MB in all) and found."""

    def __init__(self, name: str, n: int) -> None:
        command = [sys.executable, __file__, name, str(n)]
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        self.seconds, self.cpu, self.extra, self.peak, found = json.loads(out.splitlines()[-1])
        self.found = np.array(found)
        print(f"{name} {n}: {self.seconds:.1f} s, {self.cpu:.1f} CPU s, {self.extra:.0f} MB")


def spread(rows: np.ndarray, labels: np.ndarray) -> float:
    """Sum of the squared distances to the means."""
    return float(
        sum(
            ((rows[labels == one] - rows[labels == one].mean(axis=0, dtype=np.float64)) ** 2).sum()
            for one in np.unique(labels)
        )
    )


def disagreement(one: np.ndarray, other: np.ndarray) -> float:
    """1 - adjusted Rand index."""
    from sklearn.metrics import adjusted_rand_score

    return 1 - float(adjusted_rand_score(one, other))


def exact_ward(n: int, small: int) -> list[Row]:
    own, theirs, sweep = Done("own_ward", n), Done("their_ward", n), Done("own_sweep", n)
    cuts = Done("own_cuts", small)
    rivals = {"scipy": Done("scipys_ward", small)}
    if find_spec("fastcluster"):
        rivals["fastcluster"] = Done("fastclusters_ward", small)
    seconds = f"{own.seconds:.1f} s, scikit-learn {theirs.seconds:.1f} s"
    return [
        *(row for name, rival in rivals.items() for row in _same_cuts(small, cuts, name, rival)),
        Row(f"Ward {n}: 1 - ARI with scikit-learn", disagreement(own.found, theirs.found), 0, ""),
        Row(f"Ward {n}: time / scikit-learn's", own.seconds / theirs.seconds, 1 / 7, note=seconds),
        Row(f"Ward {n}: memory / scikit-learn's", own.extra / theirs.extra, 1 / 7),
        Row(f"Ward {n}: memory beside the rows", own.extra, 400, "MB"),
        Row(f"Ward {n}: sweep of 10 k / one fit, CPU", sweep.cpu / own.cpu, 1.1),
    ]


def _same_cuts(n: int, own: Done, name: str, rival: Done) -> list[Row]:
    differ = max(disagreement(a, b) for a, b in zip(own.found, rival.found, strict=True))
    return [
        Row(f"Ward {n}: 1 - ARI with {name}, k = 10 to 1000", differ, 0, ""),
        Row(f"Ward {n}: time / {name}'s", own.seconds / rival.seconds),
        Row(f"Ward {n}: memory / {name}'s", own.extra / rival.extra),
    ]


def approximate(n: int, of_ward: int) -> list[Row]:
    rows = activations(of_ward)
    exact, led = Done("own_ward", of_ward), Done("own_leaders", of_ward)
    many = Done("own_leaders", n)
    ratio = spread(rows, led.found) / spread(rows, exact.found)
    return [
        Row(f"Leaders→Ward {of_ward}: SSE / exact Ward's", ratio, 1.01),
        Row(f"Leaders→Ward {of_ward}: 1 - ARI", disagreement(led.found, exact.found), 0.05, ""),
        Row(f"Leaders→Ward {n}: time", many.seconds, 6, "s", f"{many.cpu:.1f} CPU s"),
    ]


def kmeans(n: int) -> list[Row]:
    rows = activations(n)
    own, one, five = Done("own_kmeans", n), Done("their_kmeans", n), Done("their_restarts", n)
    best = min(spread(rows, labels) for labels in five.found)
    note = f"{own.seconds:.1f} s, scikit-learn {one.seconds:.1f} s"
    found = [
        Row(f"k-means {n}: SSE / best of 5 restarts", spread(rows, own.found) / best, 1),
        Row(f"k-means {n}: time / one restart's", own.seconds / one.seconds, 2, note=note),
    ]
    if find_spec("faiss"):
        quick = Done("faiss_kmeans", n)
        ratio = spread(rows, own.found) / spread(rows, quick.found)
        found += [
            Row(f"k-means {n}: SSE / faiss's", ratio, note="25 iterations of all rows"),
            Row(f"k-means {n}: time / faiss's", own.seconds / quick.seconds),
        ]
    return found


def silhouette(n: int) -> list[Row]:
    own, theirs = Done("own_silhouette", n), Done("their_silhouette", n)
    difference = abs(float(own.found) - float(theirs.found))
    return [
        Row(f"silhouette {n}: difference to scikit-learn", difference, 1e-4, ""),
        Row(f"silhouette {n}: time / scikit-learn's", own.seconds / theirs.seconds, 0.5),
        Row(f"silhouette {n}: memory / scikit-learn's", own.extra / theirs.extra, 0.25),
    ]


def large() -> list[Row]:
    rows = []
    for n, seconds, memory in ((50_000, 50, 1000), (100_000, 240, 1500)):
        done = Done("own_ward", n)
        rows += [
            Row(f"Ward {n}: time", done.seconds, seconds, "s"),
            Row(f"Ward {n}: memory in all", done.peak, memory, "MB"),
        ]
    return rows


def main() -> int:
    part = 4 if "--quick" in sys.argv else 1
    rows = [
        *silhouette(20_000 // part),
        *kmeans(50_000 // part),
        *approximate(50_000 // part, 20_000 // part),
        *exact_ward(20_000 // part, 5000 // part),
        *(large() if "--large" in sys.argv else ()),
    ]
    return finish("clustering", "clustering: 384 dimensions, 50 clusters", rows)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        serve(sys.argv[1], int(sys.argv[2]))
    else:
        sys.exit(main())
