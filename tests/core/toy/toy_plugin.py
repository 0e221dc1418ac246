"""A plugin of every kind, for tests of pipelines; some of its components are broken."""

from actx_core import Component, hookimpl


@hookimpl
def actx_models():
    yield Component("toy", "toy_model:Toy", "A model.", config="toy_config:ToyConfig")
    yield Component("bare", "toy_model:Bare", "A model without options.")
    yield Component(
        "gone", "toy_model:Gone", "Needs an extra.", config="toy_heavy:Config", extra="big"
    )
    yield Component("torn", "toy_model:Torn", "Its module is broken.", config="toy_torn:Config")
    yield Component(
        "odd", "toy_model:Odd", "Its options are no Config.", config="toy_config:NoConfig"
    )


@hookimpl
def actx_sources():
    yield Component("files", "toy_model:Files", "A source.", config="toy_config:FilesConfig")


@hookimpl
def actx_poolers():
    yield Component("average", "toy_config:Average", "A pooler.")
    yield Component("notpool", "toy_config:ToyConfig", "Not a pooler.")


@hookimpl
def actx_analyzers():
    yield Component("groups", "toy_model:Groups", "An analysis.", config="toy_config:GroupsConfig")


@hookimpl
def actx_executors():
    yield Component("farm", "toy_model:Farm", "An executor.", config="toy_config:FarmConfig")


@hookimpl
def actx_formats():
    yield Component("csv", "toy_model:Csv", "A format.", config="toy_config:CsvConfig")
