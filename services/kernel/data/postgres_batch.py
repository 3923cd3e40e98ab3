"""Statements of the PostgreSQL writer: one for a group of submissions, whose rows come as arrays through `unnest`.

A row that is written twice in one group is merged, and the last one wins; where that is not the same as one after the
other, the group is cut into several statements. New rows of `refusable` submissions are `ON CONFLICT DO NOTHING
RETURNING`, and what else these submissions write joins on what was taken.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Dialect, String, UniqueConstraint

from services.kernel.data.schema import MARKERS
from services.kernel.data.writes import (
    Fence,
    Mode,
    Submission,
    TableWrite,
    bind_processor,
    fences_held,
)

MOST_STATEMENTS = 1024  # whose SQL is kept
OPEN = -1
"""Instead of a submission's number: a row that depends on nothing."""


class _Shape:
    """SQL and conversions of a write for rows with these columns."""

    def __init__(self, number: int, write: TableWrite, columns: tuple[str, ...], dialect: Dialect) -> None:
        self.number = number
        self.write = write
        self.columns = write.key if write.mode is Mode.DELETE else columns
        quote = dialect.identifier_preparer.quote
        self.table = dialect.identifier_preparer.format_table(write.table)
        self.names = [quote(name) for name in self.columns]
        self.keys = [quote(name) for name in write.key]
        self.primary = tuple(column.name for column in write.table.primary_key)
        self.sets = [quote(name) for name in write.sets(self.columns)]
        types = [write.table.columns[name].type.dialect_impl(dialect) for name in self.columns]
        # A cast to varchar(n) would cut what is too long; the assignment refuses it.
        self.types = ["text" if isinstance(kind, String) else kind.compile(dialect).partition("(")[0] for kind in types]
        self.to = [bind_processor(write.table.columns[name], dialect) for name in self.columns]
        unique = [one for one in write.table.constraints if isinstance(one, UniqueConstraint)]
        self.is_claim = bool(unique) and write.mode in (Mode.INSERT, Mode.UPSERT)
        """True if a row that is new may be refused by a key that is not its own id."""

    def arrays(self, rows: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
        """Values by column."""
        return [
            [row[name] for row in rows] if to is None else [to(row[name]) for row in rows]
            for name, to in zip(self.columns, self.to, strict=True)
        ]

    def source(self, first: int, numbered: bool) -> str:
        """`unnest` of arrays from parameter `first` on, and of the submissions' numbers behind them."""
        names, types = [*self.names], [*self.types]
        if numbered:
            names, types = [*names, "submission"], [*types, "int4"]
        arrays = ", ".join(f"${first + at}::{kind}[]" for at, kind in enumerate(types))
        return f"unnest({arrays}) AS r ({', '.join(names)})"

    def sql(self, first: int, claims: bool, joins: bool, gated: bool = False) -> str:
        """The statement. `claims`: takes what is free, and returns its keys. `joins`: where its claim was taken.

        `gated`: only where the statement's mark is set.
        """
        source = self.source(first, claims or joins)
        is_taken = f"(r.submission = {OPEN} OR r.submission IN (SELECT submission FROM taken))"  # noqa: S608 # nosec B608
        condition = is_taken if joins else "TRUE"
        if gated:
            condition += " AND EXISTS (SELECT FROM mark)"
        same = " AND ".join(f"t.{key} = r.{key}" for key in self.keys)
        if self.write.mode is Mode.DELETE:
            return f"DELETE FROM {self.table} AS t USING {source} WHERE {same} AND {condition}"  # noqa: S608 names, quoted # nosec B608
        if self.write.mode is Mode.UPDATE:
            assignments = ", ".join(f"{name} = r.{name}" for name in self.sets)
            return f"UPDATE {self.table} AS t SET {assignments} FROM {source} WHERE {same} AND {condition}"  # noqa: S608 # nosec B608
        columns, values = ", ".join(self.names), ", ".join(f"r.{name}" for name in self.names)
        insert = f"INSERT INTO {self.table} ({columns}) SELECT {values} FROM {source} WHERE {condition}"  # noqa: S608 # nosec B608
        if claims:
            return f"{insert} ON CONFLICT DO NOTHING RETURNING {', '.join(self.primary)}"
        if self.write.mode is Mode.INSERT:
            return insert
        assignments = ", ".join(f"{name} = excluded.{name}" for name in self.sets)
        action = f"UPDATE SET {assignments}" if self.sets else "NOTHING"  # nosec B608
        return f"{insert} ON CONFLICT ({', '.join(self.keys)}) DO {action}"


class Shapes:
    """Shapes of all writes so far."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._shapes: dict[tuple[TableWrite, tuple[str, ...]], _Shape] = {}
        self._by_plan: dict[tuple[Any, ...], str] = {}

    def of(self, write: TableWrite, row: Mapping[str, Any]) -> _Shape:
        """The shape of a row."""
        key = write, tuple(row)
        shape = self._shapes.get(key)
        if shape is None:
            shape = self._shapes[key] = _Shape(len(self._shapes), *key, self._dialect)
        return shape

    def sql(self, parts: Sequence["_Part"], gate: "Gate | None" = None) -> str:
        """The statement of a plan. It answers the numbers of submissions whose claims were taken.

        With a gate it is a transaction of its own, which answers 1 when all is written, and None behind a fallen fence.
        """
        kind = None if gate is None else bool(gate.fences)
        key = kind, tuple((part.shape, part.claims, part.joins) for part in parts)
        sql = self._by_plan.get(key)
        if sql is None:
            if len(self._by_plan) >= MOST_STATEMENTS:
                self._by_plan.clear()
            sql = self._by_plan[key] = _statement(parts) if kind is None else _gated_statement(parts, kind)
        return sql


@dataclass(frozen=True, slots=True)
class Gate:
    """Condition of a statement that is a transaction of its own: all fences stand. It marks the writer's number."""

    writer: str
    number: int
    time_ns: int
    fences: Sequence[Fence]

    def parameters(self, claimed: int) -> list[Any]:
        """The statement's first parameters; `claimed`: how many submissions have to be taken."""
        shards, epochs = [fence.shard for fence in self.fences], [fence.epoch for fence in self.fences]
        return [self.writer, self.number, self.time_ns, claimed, *((shards, epochs) if self.fences else ())]


@dataclass(slots=True)
class _Part:
    """Rows of one shape in a plan."""

    shape: _Shape
    claims: bool
    joins: bool
    rows: list[Mapping[str, Any]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _RowPosition:
    """Position of a row in a plan, and its submission."""

    part: _Part
    at: int
    submission: int
    refusable: bool


class Plan:
    """As many submissions as one statement can write; `count` of them from the first on."""

    def __init__(self, submissions: Sequence[Submission], shapes: Shapes) -> None:
        self._shapes = shapes
        self._parts: dict[tuple[_Shape, bool, bool], _Part] = {}
        # By table: the columns by which its rows are told apart, and where each is.
        self._positions: dict[str, tuple[tuple[str, ...], dict[tuple[Any, ...], _RowPosition]]] = {}
        self.claimed: list[int] = []
        self.count = 0
        for number, submission in enumerate(submissions):
            if not self._add(number, submission):
                break
            self.count += 1

    @property
    def is_empty(self) -> bool:
        """Test for submissions that have no rows at all, nor any behind them."""
        return not self._parts

    def statement(self, gate: Gate | None = None) -> tuple[str, list[Any]]:
        """SQL and its parameters."""
        # In an order of their own, so that the same tables are the same statement.
        parts = sorted(self._parts.values(), key=lambda part: (not part.claims, part.shape.number, part.joins))
        parameters = [] if gate is None else gate.parameters(len(self.claimed))
        for part in parts:
            parameters += part.shape.arrays(part.rows)
            if part.claims or part.joins:
                parameters.append(part.numbers)
        return self._shapes.sql(parts, gate), parameters

    def _add(self, number: int, submission: Submission) -> bool:
        """Add a submission, or nothing of it where it has to come after what is planned already."""
        shaped = [(self._shapes.of(write, row), row) for write, row in submission.writes]
        claims = [shape for shape, _ in shaped if shape.is_claim] if submission.refusable else []
        joins = len(claims) == 1
        added: list[tuple[_Part, tuple[Any, ...]]] = []
        merged: list[tuple[_RowPosition, Mapping[str, Any]]] = []
        for shape, row in shaped:
            write = shape.write
            by = shape.primary if write.mode is Mode.INSERT else write.key
            known_by, positions = self._positions.setdefault(write.table.name, (by, {}))
            if known_by != by:
                if positions:
                    return self._undo(added, merged)
                self._positions[write.table.name] = by, positions = by, {}
            key = tuple([row[name] for name in by])
            position = positions.get(key)
            if position is None:
                is_claim = joins and shape.is_claim
                part_key = shape, is_claim, joins and not is_claim
                part = self._parts.get(part_key)
                if part is None:
                    part = self._parts[part_key] = _Part(*part_key)
                part.rows.append(row)
                part.numbers.append(number if joins else OPEN)
                positions[key] = _RowPosition(part, len(part.rows) - 1, number, joins)
                added.append((part, key))
                continue
            merge = self._merged(position, shape, row, number, joins)
            if merge is None:
                return self._undo(added, merged)
            merged.append((position, position.part.rows[position.at]))
            position.part.rows[position.at] = merge
        if joins:
            self.claimed.append(number)
        return True

    @staticmethod
    def _merged(
        position: _RowPosition, shape: _Shape, row: Mapping[str, Any], number: int, refusable: bool
    ) -> Mapping[str, Any] | None:
        """Merge a row with the one before it; None where they must be written one after the other."""
        before, mode = position.part.shape, shape.write.mode
        if (refusable or position.refusable) and position.submission != number:
            return None
        if mode is Mode.DELETE and before.write.mode is Mode.DELETE:
            return row
        if mode is Mode.UPSERT and before.columns == shape.columns and before.write.mode in (Mode.INSERT, Mode.UPSERT):
            # An earlier UPSERT decides what `fixed` columns are when the row is new.
            old = position.part.rows[position.at]
            same = before.write is shape.write or before.write.mode is Mode.INSERT
            return {**row, **{name: old[name] for name in shape.write.fixed if name in old}} if same else None
        if mode is Mode.UPDATE and before is shape:
            return row
        return None

    def _undo(
        self,
        added: list[tuple[_Part, tuple[Any, ...]]],
        merged: list[tuple[_RowPosition, Mapping[str, Any]]],
    ) -> bool:
        for position, row in reversed(merged):
            position.part.rows[position.at] = row
        for part, key in reversed(added):
            part.rows.pop()
            part.numbers.pop()
            del self._positions[part.shape.write.table.name][1][key]
            if not part.rows:
                del self._parts[part.shape, part.claims, part.joins]
        return False


def one_by_one(submission: Submission, shapes: Shapes) -> list[tuple[str, list[Any]]]:
    """The rows of a submission that contradict each other, in their order."""
    statements = []
    for write, row in submission.writes:
        part = _Part(shapes.of(write, row), False, False, [row], [OPEN])
        statements.append((shapes.sql([part]), part.shape.arrays([row])))
    return statements


def _statement(parts: Sequence[_Part]) -> str:
    expressions, has_claims = _expressions(parts, 1, gated=False)
    answer = "coalesce((SELECT array_agg(submission) FROM taken), '{}')" if has_claims else "'{}'::int4[]"
    return f"WITH {', '.join(expressions)} SELECT {answer}"


def _gated_statement(parts: Sequence[_Part], has_fences: bool) -> str:
    """One statement instead of a transaction of three. Where a claim was not taken it fails, and nothing is written."""
    expressions, has_claims = _expressions(parts, 7 if has_fences else 5, gated=True)
    standing = "WHERE (SELECT count(*) FROM fence) = cardinality($5::int4[])" if has_fences else ""
    mark = (
        f"mark AS (INSERT INTO {MARKERS} SELECT $1::text, $2::int8, $3::int8 {standing} "  # nosec B608
        "ON CONFLICT (writer) DO UPDATE SET number = excluded.number, time_ns = excluded.time_ns RETURNING writer)"
    )
    fence = [fences_held("$5::int4[]", "$6::int8[]")] if has_fences else []
    taken = "(SELECT count(*) FROM taken)" if has_claims else "0"
    # Divided by zero where not all are taken: an error undoes what the statement did.
    return f"WITH {', '.join([*fence, mark, *expressions])} SELECT 1 / ({taken} = $4::int4)::int4 FROM mark"  # noqa: S608 # nosec B608


def _expressions(parts: Sequence[_Part], first: int, gated: bool) -> tuple[list[str], bool]:
    """The parts as expressions of one WITH, from parameter `first` on, and whether `taken` is among them."""
    expressions, taken = [], []
    has_taken = False
    for at, part in enumerate(parts):
        shape = part.shape
        if part.claims:
            expressions.append(f"c{at} AS ({shape.sql(first, True, False, gated)})")
            same = " AND ".join(f"c{at}.{name} = r.{name}" for name in shape.primary)
            taken.append(f"SELECT r.submission FROM c{at} JOIN {shape.source(first, True)} ON {same}")  # noqa: S608 # nosec B608
        else:
            if taken and not has_taken:
                expressions.append(f"taken AS ({' UNION ALL '.join(taken)})")
                has_taken = True
            expressions.append(f"p{at} AS ({shape.sql(first, False, part.joins, gated)})")
        first += len(shape.columns) + (part.claims or part.joins)
    if taken and not has_taken:
        expressions.append(f"taken AS ({' UNION ALL '.join(taken)})")
    return expressions, bool(taken)
