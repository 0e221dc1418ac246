"""Test suites for plugins: subclass one, say in a fixture what to test, and pytest does the rest.

Needs ``actx-core[testing]``.
"""

import pytest

_SUITES = ("suite", "analyzers", "models", "plugins", "poolers", "sources", "stores")
pytest.register_assert_rewrite(*(f"{__name__}.{suite}" for suite in _SUITES))

from actx_core.testing.analyzers import AnalyzerTests, make_input  # noqa: E402 (after the line above)
from actx_core.testing.models import ModelTests  # noqa: E402
from actx_core.testing.plugins import PluginTests  # noqa: E402
from actx_core.testing.poolers import PoolerTests  # noqa: E402
from actx_core.testing.sources import SourceTests  # noqa: E402
from actx_core.testing.stores import StoreTests  # noqa: E402

__all__ = [
    "AnalyzerTests",
    "ModelTests",
    "PluginTests",
    "PoolerTests",
    "SourceTests",
    "StoreTests",
    "make_input",
]
