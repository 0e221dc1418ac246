"""A plugin for tests: a numpy model, a listed source, a stream, and an observer."""

from actx_core import Component, hookimpl


@hookimpl
def actx_models():
    yield Component("toy", "actx_toy.model:Toy", "Two layers.", config="actx_toy.model:ToyConfig")


@hookimpl
def actx_sources():
    source = "actx_toy.source"
    yield Component("numbers", f"{source}:Numbers", "A list.", config=f"{source}:NumbersConfig")
    yield Component("stream", f"{source}:Stream", "A stream.", config=f"{source}:NumbersConfig")


@hookimpl
def actx_analyzers():
    yield Component("norms", "actx_toy.norms:Norms", "Row norms.")
