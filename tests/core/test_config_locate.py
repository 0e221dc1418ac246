"""The scanner against tomllib: the same keys, and each value's text parses to that value."""

from __future__ import annotations

import datetime
import math
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actx_core.config.locate import line_column, locate, read_key

SAMPLES = {
    "empty": "",
    "only a comment": "# nothing",
    "plain": "a = 1\nb = 'x' # c = 3\n",
    "dotted": "a.b.c = 1\na . d = 2\n'a'.\"e\".f = 3\n",
    "quoted": '"a b" = 1\n"a.b" = 2\n\'#\' = 3\n"\\u00e9\\"" = 4\n"" = 5\n',
    "tables": "[a]\nx = 1\n[a.b]\nx = 2\n[ c . 'd e' ] # [no]\nx = 3\n",
    "sub-table first": "[a.b]\nx = 1\n[a]\ny = 2\n",
    "arrays of tables": "[[a]]\nx = 1\n[a.b]\ny = 1\n[[a]]\nx = 2\n[[a.c]]\nz = 1\n[[a.c]]\nz = 2\n[a.c.d]\n",
    "empty elements": "[[a]]\n[[a]]\n[[a]] # x\n",
    "array below a table": "[a]\n[[a.b]]\nx.y = 1\n[[a.b]]\n",
    "inline": "a = { x = 1, y.z = [1, {q = '}'}], 'k k' = {} }\nb = 2\n",
    "inline arrays": "a = [ # first ]\n 1, [2, 3],\n # ]\n [ ], [[]] , ]\nb=[{x=1},{x=2, y=[{z=1}]}]\n",
    "multi-line": 'a = """\none = 1\n[t]\n\\""" x"""\nb = \'\'\'\n[[t]] \'\' x\'\'\'\n',
    "quotes before quotes": 'c = """x"""""\nd = \'\'\'x\'\'\'\'\'\n',
    "escapes": 'a = "\\"# = ["\nb = \'\\\'\nc = ["]", \',\', "}"]\n',
    "empty strings": 'a = ""\nb = \'\'\nc = """"""\nd = \'\'\'\'\'\'\ne = ["", \'\']\n',
    "dates": "a = 1979-05-27 07:32:00Z # x\nb = [1979-05-27, 07:32:00.5]\nc = {d = 1979-05-27T00:32:00}\n",
    "numbers": "a = +1_000\nb = -0.5e-3\nc = [0xFF,inf, nan ]\n1 = 2\n3.14 = 'pi'\n-_- = true\n",
    "no end of line": "[a]\nb = [1,\n2]",
    "header like keys": "a = 1\n[b]\n'[c]' = 1\n[d.'[e]']\nf = '[g]'\n",
    "spaces": "\t a\t=\t1\t\n  [ b ]\n [[ c ]]\n  x  =  [ 1 , 2 ]  \n",
}  # fmt: skip


def paths(node, path=()):
    """Every key path of parsed TOML."""
    found = {path}
    items = (
        node.items() if isinstance(node, dict) else enumerate(node) if type(node) is list else ()
    )
    for key, value in items:
        found |= paths(value, (*path, key))
    return found


def look_up(data, path):
    for key in path:
        data = data[key]
    return data


def same(a, b):
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a):
        return math.isnan(b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def check(text):
    data = tomllib.loads(text)
    spans = locate(text)
    assert set(spans.keys) | {()} == paths(data)
    for path, (start, end) in spans.values.items():
        assert same(tomllib.loads(f"v = {text[start:end]}")["v"], look_up(data, path)), path
    for path, offset in spans.keys.items():
        if isinstance(path[-1], str):
            assert read_key(text, offset)[0][0][0] == path[-1]
    scalars = {p for p in paths(data) if not isinstance(look_up(data, p), dict | list)}
    assert scalars <= set(spans.values)


@pytest.mark.parametrize("text", SAMPLES.values(), ids=SAMPLES)
def test_finds_what_tomllib_finds(text):
    check(text)


KEYS = st.one_of(
    st.from_regex(r"[A-Za-z0-9_-]{1,4}", fullmatch=True),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=4),
)
SCALARS = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.booleans(),
    st.text(st.characters(codec="utf-8"), max_size=8),
    st.datetimes(min_value=datetime.datetime(1000, 1, 1)),
    st.dates(min_value=datetime.date(1000, 1, 1)),
    st.times(),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)
)
DOCUMENTS = st.dictionaries(KEYS, VALUES, max_size=4)
SPACES = st.sampled_from(["", " ", "\t", "  "])
BLANKS = st.sampled_from(["", " ", "\n", " # [x] = '''\n", "\n\n\t"])


class Writer:
    """Writes a dict as TOML in one of many ways."""

    def __init__(self, draw):
        self.draw = draw

    def pick(self, *choices):
        return self.draw(st.sampled_from(choices))

    def key(self, key):
        forms = [self.basic(key)]
        if key and key.isascii() and key.replace("-", "a").replace("_", "a").isalnum():
            forms.append(key)
        if "'" not in key:
            forms.append(f"'{key}'")
        return self.pick(*forms)

    def basic(self, text):
        return '"' + "".join(self.escape(c) for c in text) + '"'

    def escape(self, char):
        if char in '"\\' or ord(char) < 32 or ord(char) == 127:
            return f"\\u{ord(char):04x}"
        return char

    def string(self, text):
        forms = [self.basic(text)]
        printable = all(ord(c) >= 32 and ord(c) != 127 for c in text)
        if printable and "'" not in text:
            forms.append(f"'{text}'")
        if all(c == "\n" or (ord(c) >= 32 and ord(c) != 127) for c in text):
            if "'''" not in text and not text.endswith("'"):
                forms.append(f"'''\n{text}'''")
            forms.append('"""\n' + text.replace("\\", "\\\\").replace('"', '\\"') + '"""')
        return self.pick(*forms)

    def value(self, value):
        space, blank = self.draw(SPACES), self.draw(BLANKS)
        match value:
            case bool():
                return str(value).lower()
            case str():
                return self.string(value)
            case dict():
                pairs = [
                    f"{space}{self.key(k)}{space}={self.value(v)}{space}" for k, v in value.items()
                ]
                return "{" + ",".join(pairs) + "}"
            case list():
                items = [f"{blank}{self.value(v)}{blank}" for v in value]
                return "[" + ",".join(items) + (self.pick(",", "") if items else "") + blank + "]"
            case datetime.datetime():
                return value.isoformat(self.pick("T", " "))
            case datetime.date() | datetime.time():
                return value.isoformat()
        return repr(value)

    def table(self, table, header):
        """The lines of one table: first its pairs, then the tables opened by headers."""
        below = {}
        for key, value in table.items():
            tables = isinstance(value, list) and value and all(isinstance(v, dict) for v in value)
            if (isinstance(value, dict) or tables) and self.pick(True, False):
                below[key] = value
            elif isinstance(value, dict) and value and self.pick(True, False):
                for inner, v in value.items():  # dotted keys
                    yield f"{self.key(key)}{self.draw(SPACES)}.{self.key(inner)} = {self.value(v)}"
            else:
                yield f"{self.draw(SPACES)}{self.key(key)}{self.draw(SPACES)}= {self.value(value)} # x"
        for key, value in below.items():
            name = (*header, key)
            space = self.draw(SPACES)
            dotted = f"{space}.{space}".join(self.key(k) for k in name)
            if isinstance(value, dict):
                yield f"{space}[{space}{dotted}{space}]"
                yield from self.table(value, name)
            else:
                for element in value:
                    yield f"[[{space}{dotted}{space}]] # [x]"
                    yield from self.table(element, name)
            yield self.draw(BLANKS)


@given(DOCUMENTS, st.data())
def test_finds_what_tomllib_finds_in_any_document(document, data):
    text = "\n".join(Writer(data.draw).table(document, ()))
    assert same(tomllib.loads(text), document)  # the writer of this test is right
    check(text)


def test_positions_of_a_small_file():
    text = 'a = 1\n\n[[m]]\n  b . c = "x"\n[[m]]\nd = [10,\n  20]\ne = {f = 1}\n'
    spans = locate(text)
    at = {path: line_column(text, offset) for path, offset in spans.keys.items()}
    assert at == {
        ("a",): (1, 1),
        ("m",): (3, 3),
        ("m", 0): (3, 3),
        ("m", 0, "b"): (4, 3),
        ("m", 0, "b", "c"): (4, 7),
        ("m", 1): (5, 3),
        ("m", 1, "d"): (6, 1),
        ("m", 1, "d", 0): (6, 6),
        ("m", 1, "d", 1): (7, 3),
        ("m", 1, "e"): (8, 1),
        ("m", 1, "e", "f"): (8, 6),
    }
    start, end = spans.values["m", 1, "d"]
    assert text[start:end] == "[10,\n  20]"


def test_explicit_header_wins_over_a_mention():
    text = "[a.b]\nx = 1\n[a]\n"
    assert line_column(text, locate(text).keys["a",]) == (3, 2)


def test_lines_and_columns():
    text = "ab\n\ncd"
    places = [line_column(text, n) for n in range(len(text) + 1)]
    assert places == [(1, 1), (1, 2), (1, 3), (2, 1), (3, 1), (3, 2), (3, 3)]


def test_a_key_that_is_none():
    with pytest.raises(ValueError, match="expected a key"):
        read_key("a. = 1")
