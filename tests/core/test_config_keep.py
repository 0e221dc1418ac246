"""Keep expressions against Python's own evaluation, row by row; and everything that is refused."""

from __future__ import annotations

import ast
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actx_core.config.keep import KeepError, parse_keep
from actx_core.errors import ConfigError

ROWS = 40
RNG = np.random.default_rng(0)
COLUMNS = {
    "position": RNG.integers(0, 9, ROWS).astype("uint8"),
    "size": RNG.integers(-5, 6, ROWS),
    "score": RNG.normal(size=ROWS).astype("float32"),
    "special": RNG.random(ROWS) < 0.3,
    "label": RNG.choice(["cat", "dog", "", "é"], ROWS),
    "note": RNG.choice(np.array(["cat", "", "x y"], object), ROWS),
}

EXPRESSIONS = [
    "special",
    "not special and position > 0",
    "position",
    "not position or not score",
    "0 < position <= 5 != 4",
    "position - 5 > -2",
    "-position < -3",
    "position * 100 + size >= 300",
    "size % 3 == 1",
    "size / 4 > 0.5 or special",
    "score > 0.25 and score < 1e3",
    "label == 'cat'",
    "label != note",
    "label < note",
    "label in ('cat', 'dog')",
    "label not in ['é'] and note in {'cat'}",
    "position in (1, 3, -1) or size in (-5,)",
    "size not in ()",
    "special == True and not (label == \"dog\")",
    "special + special == 2",
    "True and special or False",
    "'cat' == label",
    "1 < position in (2, 3)",
    "  special  ",
    "(special\n  and label == 'é')",
    "special and\n position > 2",
]  # fmt: skip


def one_line(text):
    return text.strip().replace("\n", " ")


def row_by_row(text, columns):
    """Python's own idea of the expression, for each row."""
    code = compile(one_line(text), "", "eval")
    n = len(next(iter(columns.values())))
    rows = [
        {k: v[i].item() if hasattr(v[i], "item") else v[i] for k, v in columns.items()}
        for i in range(n)
    ]
    return np.array([bool(eval(code, {}, row)) for row in rows])


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_equals_python_row_by_row(text):
    keep = parse_keep(text)
    kept = keep(COLUMNS)
    assert kept.dtype == bool
    np.testing.assert_array_equal(kept, row_by_row(text, COLUMNS))
    used = {node.id for node in ast.walk(ast.parse(one_line(text))) if isinstance(node, ast.Name)}
    assert keep.names == used


NUMBERS = st.one_of(st.sampled_from(["position", "size", "special"]), st.integers(0, 9).map(str))
TEXTS = st.sampled_from(["label", "note", "'cat'", "''", "'x y'"])
TERMS = st.recursive(
    NUMBERS,
    lambda x: st.one_of(
        st.tuples(x, st.sampled_from("+-*"), x).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        x.map(lambda t: f"-{t}"),
    ),
    max_leaves=4,
)
OPERATORS = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
TESTS = st.one_of(
    st.tuples(TERMS, OPERATORS, TERMS, OPERATORS, TERMS).map(" ".join),
    st.tuples(TEXTS, OPERATORS, TEXTS).map(" ".join),
    st.tuples(TERMS, st.sampled_from(["in", "not in"]), st.just("(1, 4, -2)")).map(" ".join),
    TERMS,
)
BOOLEANS = st.recursive(
    TESTS,
    lambda x: st.one_of(
        st.tuples(x, st.sampled_from(["and", "or"]), x).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        x.map(lambda t: f"not ({t})"),
    ),
    max_leaves=5,
)


@given(BOOLEANS)
def test_equals_python_for_any_expression(text):
    text = f"({text}) or special"
    kept = np.broadcast_to(parse_keep(text)(COLUMNS), ROWS)
    np.testing.assert_array_equal(kept, row_by_row(text, COLUMNS))


def test_samples_broadcast_against_tokens():
    columns = {"label": np.array([["a"], ["b"]]), "token": np.arange(6).reshape(2, 3)}
    kept = parse_keep("label == 'b' and token > 3")(columns)
    np.testing.assert_array_equal(kept, [[False, False, False], [False, True, True]])
    assert parse_keep("label == 'b'")(columns).shape == (2, 1)


def test_whole_numbers_do_not_wrap_around():
    columns = {"x": np.array([3, 250], "uint8"), "y": np.array([2**63 + 5, 1], "uint64")}
    np.testing.assert_array_equal(parse_keep("x - 5 < 0")(columns), [True, False])
    np.testing.assert_array_equal(parse_keep("x + x == 500")(columns), [False, True])
    np.testing.assert_array_equal(parse_keep("-x < 0")(columns), [True, True])
    np.testing.assert_array_equal(parse_keep("x < 300")(columns), [True, True])
    np.testing.assert_array_equal(parse_keep("y - 2 > 0")(columns), [True, False])


def test_a_float32_column_equals_the_number_as_written():
    np.testing.assert_array_equal(parse_keep("x == 0.1")({"x": np.array([0.1], "float32")}), [True])


def test_division_by_zero_and_nan_keep_no_row_and_warn_of_nothing():
    columns = {"x": np.array([0, 1]), "s": np.array([np.nan, 1.0])}
    np.testing.assert_array_equal(parse_keep("1 / x < 5")(columns), [False, True])
    np.testing.assert_array_equal(parse_keep("s > 0")(columns), [False, True])


def test_missing_values_in_object_columns():
    columns = {"s": np.array([None, "b", "a"], object), "n": np.array([None, 3, 0], object)}
    np.testing.assert_array_equal(parse_keep("s == 'a'")(columns), [False, False, True])
    np.testing.assert_array_equal(parse_keep("s in ('a', 'b')")(columns), [False, True, True])
    np.testing.assert_array_equal(parse_keep("n")(columns), [False, True, False])
    np.testing.assert_array_equal(parse_keep("n == 3")(columns), [False, True, False])
    with pytest.raises(ConfigError, match="n has missing values"):
        parse_keep("n > 1")(columns)
    with pytest.raises(ConfigError, match="s has missing values"):
        parse_keep("'a' < s")(columns)


def test_a_column_of_missing_values_alone_equals_nothing():
    """As a batch, or a single sample, of a column may be that has values elsewhere."""
    columns = {"x": np.array([None, None], object)}
    for text, expected in {
        "x == 3": False,
        "x != 3": True,
        "x in ('a',)": False,
        "not x": True,
    }.items():
        np.testing.assert_array_equal(parse_keep(text)(columns), [expected] * 2)
    with pytest.raises(ConfigError, match="x has missing values"):
        parse_keep("x > 1")(columns)


def test_empty_columns():
    assert parse_keep("x > 1 and s in ('a',)")(
        {"x": np.zeros(0), "s": np.zeros(0, "U1")}
    ).shape == (0,)


REFUSED = [
    ("", 1, "empty"),
    ("  ", 3, "empty"),
    ("special and", 1, "not an expression"),
    ("  a )", 5, "unmatched"),
    ("a == 'x", 6, "not an expression"),
    ("len(label) > 3", 1, "function call"),
    ("a and (b or label.upper() == 'X')", 13, "function call"),
    ("a > 1 and label.x", 11, "a dot"),
    ("a[0] > 1", 1, "square brackets"),
    ("a is True", 1, "'is'"),
    ("label in 'abc'", 10, "behind 'in'"),
    ("label in names", 10, "behind 'in'"),
    ("label in ('a', other)", 10, "column other"),
    ("a & b", 1, "'a & b'"),
    ("x and ~a", 7, "'~a'"),
    ("a // 2 == 1", 1, "'a // 2'"),
    ("a ** 2 > 1", 1, "'a ** 2'"),
    ("+a > 1", 1, "'+a'"),
    ("a if b else c", 1, "'if'"),
    ("a == None", 6, "'None'"),
    ("a == 2j", 6, "'2j'"),
    ("a == b'x'", 6, "not allowed"),
    ("a == f'{b}'", 6, "f-string"),
    ("(a, b)", 1, "outside 'in'"),
    ("a, b", 1, "outside 'in'"),
    ("[x for x in a]", 1, "not allowed"),
    ("lambda: a", 1, "'lambda'"),
    ("(a := 1)", 2, "not allowed"),
    ("*a", 1, "not"),
    ("a > 9223372036854775808", 5, "64 bits"),
    ("'é' == é and f(x)", 14, "function call"),
    ("a # why", 3, "comment"),
    ("a # why\nand b", 3, "comment"),
    ("a; b", 2, "not an expression"),
    ("import os", 1, "not an expression"),
    ("a\0b", 1, "not an expression"),
    (r"a == '\d'", 6, "invalid escape"),
    ("1 < 2", 1, "no column is named"),
    ("True", 1, "no column is named"),
    ("not " * 5000 + "a", 1, "nested too deeply"),
    ("a" + " + a" * 5000 + " > 1", 1, "nested too deeply"),
]


@pytest.mark.parametrize(
    ("text", "column", "message"), REFUSED, ids=[t[:20] for t, _, _ in REFUSED]
)
def test_refuses_the_rest_at_its_column(text, column, message):
    with pytest.raises(KeepError) as caught:
        parse_keep(text)
    assert message in caught.value.message
    assert caught.value.column == column
    assert f"column {column}:" in str(caught.value)
    assert caught.value.hint


def test_what_is_allowed_is_said():
    with pytest.raises(ConfigError, match=r"allowed are column names.*not in") as caught:
        parse_keep("a.b")
    assert "allowed" in str(pickle.loads(pickle.dumps(caught.value)))


def test_unknown_column_lists_those_that_exist():
    with pytest.raises(ConfigError) as caught:
        parse_keep("positon > 1")({"position": np.zeros(2), "label": np.zeros(2)})
    assert "no column is called 'positon'; there are: label, position" in str(caught.value)
    assert caught.value.hint == "did you mean 'position'?"
    with pytest.raises(ConfigError, match="there are: none"):
        parse_keep("x")({})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label", "text is neither true nor false"),
        ("not label", "neither true nor false"),
        ("special and note", "neither true nor false"),
        ("label + 'x' == 'catx'", "cannot be calculated"),
        ("-note < 3", "cannot be calculated"),
        ("label > 3", "label is text, 3 is a number"),
        ("position == 'cat'", "'cat' is text, position is a number"),
        ("note in (1, 2)", "note is text, 1 is a number"),
    ],
)
def test_text_and_numbers_are_not_mixed(text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        parse_keep(text)(COLUMNS)
    assert caught.value.where == f"keep = {text!r}"


def test_parsing_needs_no_numpy(run_python):
    code = """
import sys
from actx_core.config.keep import parse_keep
parse_keep("a > 1")
print("numpy" in sys.modules)
"""
    assert run_python(code) == "False"
