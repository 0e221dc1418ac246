"""What the plugin offers: a model that takes text and needs no framework."""

from actx_core import Component, hookimpl


@hookimpl
def actx_models():
    yield Component(
        "letters", "letters_toy.model:Letters", "Counts bytes.", config="actx_core:ModelConfig"
    )
