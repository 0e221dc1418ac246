"""Tables that are joined to rows: what an empty field is."""

from __future__ import annotations

import pytest

from actx_core.joins import read_columns


@pytest.mark.parametrize(("suffix", "between"), [("csv", ","), ("tsv", "\t")])
def test_an_empty_field_is_no_value_in_text_as_in_numbers(tmp_path, suffix, between):
    lines = ["sample,label,score", "007,é,1.5", ",,", "c,NA,2"]
    path = tmp_path / f"a.{suffix}"
    path.write_text("\n".join(lines).replace(",", between) + "\n", encoding="utf-8")
    found = read_columns(path, "sample").to_pydict()
    assert found == {
        "sample": ["007", "", "c"],
        "label": ["é", None, "NA"],
        "score": [1.5, None, 2.0],
    }
