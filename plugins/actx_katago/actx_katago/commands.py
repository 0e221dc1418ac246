"""``actx katago info``: what a network file holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from actx_katago.outputs.commands import compare, search


@click.group()
def katago() -> None:
    """Look at KataGo networks."""


katago.add_command(search)
katago.add_command(compare)


@katago.command()
@click.argument("network", metavar="NET", type=click.Path(path_type=Path))
@click.option("--no-swa", is_flag=True, help="Of a checkpoint, the weights that are not averaged.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--debug", is_flag=True, help="Show tracebacks of errors.")
def info(network: Path, no_swa: bool, as_json: bool, debug: bool) -> None:
    """Say what a network file holds: version, blocks, channels, parameters, inputs, taps.

    \b
    --json prints
    {"file", "name", "version", "input_version", "n_spatial", "n_global",
      "n_meta", "blocks", "channels", "block_kinds": [name], "policies",
      "parameters", "sha256", "kind", "swa",
      "taps": {"all", "stream": [name], "heads": [name], "attention": [name]}}
    """  # noqa: D301
    facts = network_facts(network, swa=not no_swa)
    text = json.dumps(facts, indent=2, ensure_ascii=False) if as_json else _text(facts)
    click.echo(text)


def network_facts(network: Path, *, swa: bool = True) -> dict[str, Any]:
    """The facts of ``actx katago info``. Raises ModelError for what is no network."""
    from actx_katago.model.config import KatagoConfig
    from actx_katago.model.katago import Katago

    model = Katago(KatagoConfig(network=network, swa=swa))
    names = [tap.name for tap in model.taps() if not tap.problem]
    taps = {
        "all": len(names),
        "stream": [name for name in names if name.startswith("trunk") and "@" not in name],
        "heads": list(model.heads()),
        "attention": [name for name in names if name.endswith("attn_weights")],
    }
    return {"file": str(network), **model.facts, "taps": taps}


def _text(facts: dict[str, Any]) -> str:
    taps = facts["taps"]
    meta = f", {facts['n_meta']} metadata" if facts["n_meta"] else ""
    averaged = {True: ", averaged weights", False: ", weights not averaged"}.get(facts["swa"], "")
    rows = {
        "name": facts["name"],
        "file": f"{facts['kind']}{averaged}",
        "version": f"{facts['version']}, V{facts['input_version']} inputs:"
        f" {facts['n_spatial']} planes, {facts['n_global']} globals{meta}",
        "trunk": f"{facts['blocks']} blocks of {facts['channels']} channels:"
        f" {', '.join(facts['block_kinds'])}",
        "policies": str(facts["policies"]),
        "parameters": f"{facts['parameters']:,}",
        "sha256": facts["sha256"],
        "taps": f"{taps['all']}: the stream {taps['stream'][0]} … {taps['stream'][-1]},"
        f" {len(taps['attention'])} attention maps, {len(taps['heads'])} heads,"
        " the same heads as lens.N.… after every block",
    }
    width = max(map(len, rows))
    return "\n".join(f"{name:{width}}  {value}" for name, value in rows.items())
