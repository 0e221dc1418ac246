"""Options of the clustering analyzers; imports neither numpy nor scikit-learn."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from actx_cluster.config import Bytes, Counts, Preprocess, Seed
from actx_core import Config, InputPath


class Caps(Config):
    """Which rows take part, by the size of their group; for words: the filters by frequency."""

    column: str
    """The column of the rows' table whose equal values make a group."""
    min: int = Field(default=1, ge=1)
    """Leave out groups of fewer rows."""
    max: int | None = Field(default=None, ge=1)
    """Of each group keep at most so many rows, chosen by the seed."""
    delete_above: int | None = Field(default=None, ge=1)
    """Leave out groups of more rows."""


class ClusterConfig(Config):
    """What every clustering can be told."""

    seed: Seed = 0
    """Makes the result repeatable."""
    preprocess: Preprocess = "none"
    """``center`` and ``zscore`` act on each dimension, ``l2`` gives every row unit length, ``pca:N`` keeps N
    principal components, and ``whiten:N`` scales them to unit variance."""
    caps: Caps | None = None
    """Leave out rows of small or large groups."""
    memory: Bytes | None = None
    """Memory that the analysis may take beside the program, such as ``"2GB"``; by default half of the
    machine's. Given, it also picks a method that fits, where there is one."""
    exemplars: int = Field(default=8, ge=0)
    """Rows nearest each centre, and half as many farthest, to show in the report."""
    silhouette: Literal["exact"] | Annotated[int, Field(ge=0)] = 5000
    """Rows whose silhouettes are taken, each over all rows; ``"exact"`` takes all, 0 none."""
    stability: int = Field(default=2, ge=0)
    """Times that the clustering is repeated on 98 % of the rows, or of a sample of many; 0 leaves it out."""
    labels: tuple[str, ...] | None = None
    """Columns of the rows' table to compare the clusters with; by default ``label``, where there is one."""


class KMeansConfig(ClusterConfig):
    """Options of ``kmeans``."""

    k: Counts
    """Number of clusters, or a list of them: each is fitted on its own."""
    algorithm: Literal["lloyd", "minibatch", "bisecting"] = "lloyd"
    """``lloyd`` is exact; ``minibatch`` reads the rows block by block and holds none; ``bisecting`` splits
    clusters in two."""
    init: Literal["leaders", "k-means++", "random"] = "leaders"
    """Where the centres start: at those of ``leaders`` with as many clusters, or at drawn rows."""
    n_init: int = Field(default=4, ge=1)
    """Starts at drawn rows, of which the one with the lowest inertia is kept."""
    max_iter: int = Field(default=300, ge=1)
    """Iterations of one start, at most; of ``minibatch``, passes over the rows."""


class AgglomerativeConfig(ClusterConfig):
    """Options of ``agglomerative``."""

    k: Counts
    """Number of clusters, or a list of them: all are cut from one tree."""
    linkage: Literal["ward", "average", "complete", "single"] = "ward"
    """What is merged next; ``ward`` is exact without a matrix of distances, the others need one."""
    device: str = "auto"
    """Where Ward's neighbours are looked for: auto (cuda, else mps, else cpu), cpu, mps, cuda or cuda:N."""


class LeadersConfig(ClusterConfig):
    """Options of ``leaders``."""

    k: Counts | None = None
    """Clusters made of the leaders by Ward's criterion; without it, each leader has a cluster."""
    tau: float | None = Field(default=None, gt=0)
    """A row farther than this from all leaders becomes one; by default found for ``leaders``."""
    leaders: int = Field(default=4000, ge=1)
    """Leaders at most, where ``tau`` is not given."""
    device: str = "auto"
    """Where Ward's neighbours are looked for: auto (cuda, else mps, else cpu), cpu, mps, cuda or cuda:N."""


class HdbscanConfig(ClusterConfig):
    """Options of ``hdbscan``."""

    min_cluster_size: int = Field(default=5, ge=2)
    """Rows of the smallest cluster."""
    min_samples: int | None = Field(default=None, ge=1)
    """Neighbours that make a row dense; by default ``min_cluster_size``."""
    cluster_selection_method: Literal["eom", "leaf"] = "eom"
    """Clusters by excess of mass, or the leaves of the tree."""
    cluster_selection_epsilon: float = Field(default=0.0, ge=0)
    """Clusters nearer than this are one."""


class AssignConfig(Config):
    """Options of ``assign``."""

    result: InputPath
    """Folder of an old result of ``kmeans``, ``agglomerative`` or ``leaders``, with its ``result.json``."""
    digest: str = ""
    """The digest that the old result must have; by default any."""
    labels: tuple[str, ...] | None = None
    """Columns of the rows' table to compare the clusters with; by default ``label``, where there is one."""
