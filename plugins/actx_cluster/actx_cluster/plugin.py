"""What this plugin adds to actx; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterator

from actx_core import Component, hookimpl


@hookimpl
def actx_analyzers() -> Iterator[Component]:
    yield Component(
        "kmeans",
        "actx_cluster.kmeans:KMeans",
        "k-means clusters of a tap's rows, with the rows nearest each centre.",
        config="actx_cluster.config:KMeansConfig",
    )
    yield Component(
        "pca",
        "actx_cluster.pca:Pca",
        "Principal components of a tap's rows; their scores can be analysed in turn.",
        config="actx_cluster.config:PcaConfig",
    )
