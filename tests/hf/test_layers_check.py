"""``actx layers --check``: where each hook point lies, and by how much its sums are off."""

from __future__ import annotations

from click.testing import CliRunner

from actx_core.cli.group import actx


def test_places_and_errors_are_shown(saved):
    folder = saved("gpt2")
    args = ["layers", str(folder), "--type", "transformers", "--check", "--match", "blocks.1.*"]
    result = CliRunner().invoke(actx, args, prog_name="actx")
    assert result.exit_code == 0, result.output
    line = next(li for li in result.output.splitlines() if "resid_mid " in li)
    assert "h.1.ln_2" in line
    assert "off by" in line
