"""Options of ``map``; imports neither numpy nor scikit-learn."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from actx_cluster.config import Seed
from actx_core import Config


class MapConfig(Config):
    """Options of ``map``."""

    method: Literal["pca", "pacmap", "umap", "tsne"] = "pca"
    """How rows are laid out; all but ``pca`` need their library: the extra ``maps``."""
    components: int = Field(default=50, ge=2)
    """Principal components to which rows are reduced before the other methods look for neighbours."""
    neighbours: int | None = Field(default=None, ge=2)
    """Neighbours of a row (perplexity of t-SNE); by default 10 for PaCMAP, 15 for UMAP, 30 for t-SNE."""
    seed: Seed = 0
    """Makes the result repeatable."""
