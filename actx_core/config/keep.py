"""The expression language of ``[rows] keep``: a safe subset of Python, evaluated on whole columns."""

from __future__ import annotations

import ast
import operator
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from actx_core.config.problems import did_you_mean
from actx_core.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

ALLOWED = (
    "allowed are column names, numbers, 'text', True, False, and, or, not, == != < <= > >=,"
    " in (…), not in (…), + - * / %"
)

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_CALCULATE: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
}


class KeepError(ConfigError):
    """A keep expression that is not allowed; ``column`` counts its characters from 1."""

    def __init__(self, message: str, column: int, hint: str = ALLOWED) -> None:
        super().__init__(f"keep, column {column}: {message}", hint=hint)
        self.column = column


@dataclass(frozen=True)
class Keep:
    """A checked expression. ``names`` are the columns that it uses."""

    text: str
    names: frozenset[str]
    _tree: ast.expr = field(repr=False, compare=False)

    def __call__(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Which rows to keep: bool, of the shape to which the columns it uses broadcast.

        Columns are numbers, bools or text (numpy strings or objects); None in an object column equals
        nothing. Whole numbers are calculated with 64 bits. Raises ConfigError for a column that does not
        exist and for text where a number is needed, and the other way round.
        """
        import numpy as np

        for name in sorted(self.names - columns.keys()):
            hint = did_you_mean(name, columns)
            there = ", ".join(sorted(columns))
            raise ConfigError(
                f"no column is called '{name}'; there are: {there or 'none'}",
                where=f"keep = {self.text!r}",
                hint=hint if hint.startswith("did") else "",
            )
        arrays = {name: np.asarray(columns[name]) for name in self.names}
        try:
            with np.errstate(all="ignore"):
                return np.array(_truth(_value(self._tree, arrays)), dtype=bool)
        except _Mismatch as error:
            raise ConfigError(str(error), where=f"keep = {self.text!r}") from None


def parse_keep(text: str) -> Keep:
    """Check an expression. Raises KeepError, which points at the column of what is not allowed."""
    line = text.replace("\n", " ")
    lead = len(line) - len(line.lstrip())
    line = line.strip()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # "1or x" and "\d" are slips, not expressions
            tree = ast.parse(line, mode="eval").body
        names = _Check(line, lead).visit(tree)
    except SyntaxError as error:
        message = f"not an expression: {error.msg}" if line else "the expression is empty"
        raise KeepError(message, lead + (error.offset or 1)) from None
    except (RecursionError, MemoryError):
        raise KeepError("not an expression: nested too deeply", 1) from None
    except ValueError as error:  # a null byte
        raise KeepError(f"not an expression: {error}", 1) from None
    end = _characters(line, tree.end_col_offset or 0)
    if "#" in line[end:]:
        raise KeepError("a comment cannot stand in an expression", lead + line.index("#", end) + 1)
    if not names:
        raise KeepError("no column is named, so every row would be treated alike", lead + 1)
    return Keep(text, names, tree)


def _characters(line: str, offset: int) -> int:
    """Characters of a line before an offset of ast, which counts bytes of UTF-8."""
    return len(line.encode()[:offset].decode())


class _Check:
    """Refuses every node that is not in the language; returns the names used."""

    def __init__(self, line: str, lead: int) -> None:
        self.line, self.lead = line, lead

    def visit(self, node: ast.AST) -> frozenset[str]:
        match node:
            case ast.Name(id=name):
                return frozenset([name])
            case ast.Constant(value=bool() | int() | float() | str()):
                return self._constant(node)
            case ast.BoolOp(values=operands):
                return self._all(operands)
            case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
                return self.visit(operand)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _CALCULATE:
                return self._all([left, right])
            case ast.Compare(left=left, ops=ops, comparators=others):
                pairs = zip(ops, others, strict=True)
                return self.visit(left).union(*(self._compared(node, op, n) for op, n in pairs))
        raise self._refuse(node)

    def _all(self, nodes: list[ast.expr]) -> frozenset[str]:
        return frozenset().union(*map(self.visit, nodes))

    def _constant(self, node: ast.Constant) -> frozenset[str]:
        if isinstance(node.value, int) and abs(node.value) >= 2**63:
            raise self._refuse(node, "a number beyond 64 bits")
        return frozenset()

    def _compared(self, node: ast.Compare, op: ast.cmpop, right: ast.expr) -> frozenset[str]:
        if not isinstance(op, ast.In | ast.NotIn):
            if type(op) not in _COMPARE:
                raise self._refuse(node, "'is'", hint="compare with == or !=")
            return self.visit(right)
        if not isinstance(right, ast.Tuple | ast.List | ast.Set):
            raise self._refuse(
                right, "something other than a list behind 'in'", hint="in ('a', 'b')"
            )
        if names := self._all(right.elts):
            raise self._refuse(right, f"the column {min(names)} in a list of constants")
        return frozenset()

    def _refuse(self, node: ast.AST, what: str = "", hint: str = ALLOWED) -> KeepError:
        words = {
            ast.Call: "a function call",
            ast.Attribute: "a dot behind a name",
            ast.Subscript: "square brackets behind a value",
            ast.Tuple: "a list outside 'in'",
            ast.List: "a list outside 'in'",
            ast.IfExp: "'if'",
            ast.Lambda: "'lambda'",
            ast.JoinedStr: "an f-string",
        }
        what = what or words.get(type(node), f"'{ast.get_source_segment(self.line, node)}'")
        column = self.lead + _characters(self.line, getattr(node, "col_offset", 0)) + 1
        return KeepError(f"{what} is not allowed", column, hint)


class _Mismatch(Exception):
    """Text where a number is needed, or the other way round."""


def _value(node: ast.expr, columns: Mapping[str, np.ndarray]) -> Any:
    """The value of a checked expression: an array, or a Python constant."""
    match node:
        case ast.Name(id=name):
            return columns[name]
        case ast.Constant(value=constant):
            return constant
        case ast.BoolOp(op=op, values=operands):
            join = operator.and_ if isinstance(op, ast.And) else operator.or_
            return reduce(join, [_truth(_value(n, columns)) for n in operands])
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return ~_truth(_value(operand, columns))
        case ast.UnaryOp(operand=operand):
            return -_number(_value(operand, columns))
        case ast.BinOp(left=left, op=op, right=right):
            calculate = _CALCULATE[type(op)]
            return calculate(_number(_value(left, columns)), _number(_value(right, columns)))
        case ast.Compare(left=left, ops=ops, comparators=others):
            pairs = zip(ops, pairwise([left, *others]), strict=True)
            return reduce(operator.and_, [_compare(op, *pair, columns) for op, pair in pairs])
    raise AssertionError(node)


def _compare(
    op: ast.cmpop, left: ast.expr, right: ast.expr, columns: Mapping[str, np.ndarray]
) -> Any:
    import numpy as np

    a = _value(left, columns)
    if isinstance(right, ast.Tuple | ast.List | ast.Set):
        found = [_compare(ast.Eq(), left, item, columns) for item in right.elts]
        kept = reduce(operator.or_, found, np.zeros(np.shape(a), bool))
        return ~kept if isinstance(op, ast.NotIn) else kept
    b = _value(right, columns)
    if {_is_text(a), _is_text(b)} == {True, False}:
        text, number = (left, right) if _is_text(a) else (right, left)
        raise _Mismatch(f"{ast.unparse(text)} is text, {ast.unparse(number)} is a number")
    try:
        return np.asarray(_COMPARE[type(op)](np.asarray(a), b), dtype=bool)
    except TypeError:
        missing = left if np.asarray(a).dtype == object else right
        raise _Mismatch(f"{ast.unparse(missing)} has missing values, which have no order") from None


def _is_text(value: Any) -> bool | None:
    """Whether a value is text; None for an object column that holds nothing but None."""
    import numpy as np

    array = np.asarray(value)
    if array.dtype == object:
        return next((isinstance(v, str) for v in array.flat if v is not None), None)
    return array.dtype.kind in "UT"


def _truth(value: Any) -> np.ndarray:
    import numpy as np

    if _is_text(value):
        raise _Mismatch("text is neither true nor false: compare it with ==, != or in")
    return np.asarray(value).astype(bool)


def _number(value: Any) -> np.ndarray:
    """For arithmetic: whole numbers and bools as 64 bits, so that nothing wraps around."""
    import numpy as np

    array = np.asarray(value)
    if _is_text(array) or array.dtype == object:
        raise _Mismatch("text and missing values cannot be calculated with")
    return array.astype(np.result_type(array.dtype, np.int64))
