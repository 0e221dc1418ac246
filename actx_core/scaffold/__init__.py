"""What a person starts from: a pipeline that runs, and a plugin that passes its tests."""

from actx_core.scaffold.pipeline import init_pipeline
from actx_core.scaffold.plugin import new_plugin

__all__ = ["init_pipeline", "new_plugin"]
