"""The contract of readers: lists off the units of work, each row as one JSON text, by statements that are made once.

A text per row, made by the database, costs a tenth of values that the driver makes objects of, one by one; and what is
made of a row's text can be remembered by it, as nothing else goes into it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Dialect, Select, String
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from services.kernel.data.columns import Amount


class RowText(FunctionElement[str]):
    """Columns of a row as a JSON array; amounts as they are written, without trailing zeros."""

    type = String()
    inherit_cache = True


@dataclass(frozen=True, slots=True)
class Query:
    """A statement, and the names and first values of its parameters in their order."""

    sql: str
    parameters: tuple[tuple[str, Any], ...]

    def values(self, given: Mapping[str, Any]) -> list[Any]:
        """Values of the parameters in their order."""
        return [given.get(name, first) for name, first in self.parameters]


class Reader(Protocol):
    """Reads one database."""

    def prepare(self, select: Select[str]) -> Query:
        """The statement of a SELECT whose one column is a RowText."""

    async def fetch(self, query: Query, values: Mapping[str, Any]) -> Sequence[str]:
        """The texts of the rows, of one moment, in the order of the statement. Raises Unavailable."""

    async def close(self) -> None:
        """Close connections; later reads are Unavailable."""


def compile_query(select: Select[str], dialect: Dialect, around: str = "{}") -> Query:
    """The statement in a dialect, within another one's text."""
    compiled: Any = select.compile(dialect=dialect)
    firsts = compiled.params
    return Query(around.format(compiled.string), tuple((name, firsts[name]) for name in compiled.positiontup or ()))


@compiles(RowText, "sqlite")
def _sqlite(element: RowText, compiler: Any, **options: Any) -> str:
    return f"json_array({', '.join(compiler.process(column, **options) for column in element.clauses)})"


@compiles(RowText, "postgresql")
def _postgresql(element: RowText, compiler: Any, **options: Any) -> str:
    def value(column: ColumnElement[Any]) -> str:
        text: str = compiler.process(column, **options)
        return f"trim_scale({text})::text" if isinstance(column.type, Amount) else text

    return f"json_build_array({', '.join(map(value, element.clauses))})::text"
