"""SQL of a group's writes on SQLite: a statement per table, or one statement for the whole group.

The driver releases the GIL for each execution, and to get it back from a busy event loop takes longer than the row. So
many rows are one statement; and a group whose like was written before is one execution, its BEGIN and COMMIT too: it is
inserted into a view, and a trigger in place of that insertion writes its rows into their tables. View and trigger are
temporary, one each for a shape of groups: which writes, of which columns, of how many rows.
"""

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import Dialect

from services.kernel.data.writes import Mode, Submission, TableWrite, bind_processor

# Rows in one statement. Each number of them is a statement of its own, prepared once.
ROWS_AT_ONCE = 32
# A shape gets its trigger when it comes so often; a new one has all statements of the connection prepared anew.
USES_BEFORE_TRIGGER = 8
MAX_TRIGGERS = 64
MAX_SHAPES_COUNTED = 1024
# SQLite's default limit is 2,000 columns.
MAX_VALUES = 1000

Batch = tuple["PreparedWrite", list[Mapping[str, Any]]]


class PreparedWrite:
    """The SQL of a write for rows with these columns: as executemany, SQLAlchemy works on every value anew."""

    def __init__(self, write: TableWrite, dialect: Dialect, columns: Sequence[str]) -> None:
        self.write = write  # kept: its id is what the cache finds it by
        # Around the values of an INSERT, so that they can be repeated.
        self._around: tuple[str, str] | None = None
        self._sql_by_rows: dict[int, str] = {}
        quote = dialect.identifier_preparer.quote
        table, names = dialect.identifier_preparer.format_table(write.table), [quote(name) for name in columns]
        sets, order = write.sets(columns), list(columns)
        where = " AND ".join(f"{quote(name)} = ?" for name in write.key)
        if write.mode is Mode.DELETE:
            self._sql, order = f"DELETE FROM {table} WHERE {where}", list(write.key)  # noqa: S608 names, quoted # nosec B608
        elif write.mode is Mode.UPDATE:
            assignments = ", ".join(f"{quote(name)} = ?" for name in sets)
            self._sql, order = f"UPDATE {table} SET {assignments} WHERE {where}", [*sets, *write.key]  # noqa: S608 # nosec B608
        else:
            tail = ""
            if write.mode is Mode.UPSERT:
                assignments = ", ".join(f"{quote(name)} = excluded.{quote(name)}" for name in sets)
                action = f"UPDATE SET {assignments}" if sets else "NOTHING"  # nosec B608
                tail = f" ON CONFLICT ({', '.join(map(quote, write.key))}) DO {action}"
            self._around = f"INSERT INTO {table} ({', '.join(names)}) VALUES ", tail  # noqa: S608 # nosec B608
            self._row = f"({', '.join('?' * len(names))})"
        self._columns = [(name, bind_processor(write.table.columns[name], dialect)) for name in order]

    @property
    def width(self) -> int:
        """The number of values of a row."""
        return len(self._columns)

    def values(self, rows: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
        """The driver's values of each row."""
        columns = self._columns
        return [tuple(to(row[key]) if to is not None else row[key] for key, to in columns) for row in rows]

    def statements(self, rows: int) -> list[str]:
        """The statements for so many rows, whose values follow each other."""
        if self._around is None:
            return [self._sql] * rows
        return [self._sql_for(min(ROWS_AT_ONCE, rows - start)) for start in range(0, rows, ROWS_AT_ONCE)]

    def execute(self, connection: sqlite3.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Execute it for all rows."""
        values = self.values(rows)
        if self._around is None:
            connection.executemany(self._sql, values)
            return
        for start in range(0, len(values), ROWS_AT_ONCE):
            part = values[start : start + ROWS_AT_ONCE]
            connection.execute(self._sql_for(len(part)), tuple(chain.from_iterable(part)))

    def _sql_for(self, rows: int) -> str:
        sql = self._sql_by_rows.get(rows)
        if sql is None:
            assert self._around is not None
            head, tail = self._around
            sql = self._sql_by_rows[rows] = head + ", ".join([self._row] * rows) + tail
        return sql


class BatchWriter:
    """Writes groups on one connection, whose transactions are ours (`isolation_level` None)."""

    def __init__(self, connection: sqlite3.Connection, dialect: Dialect) -> None:
        self.connection = connection
        self._dialect = dialect
        self._prepared: dict[tuple[int, tuple[str, ...]], PreparedWrite] = {}
        self._uses: Counter[tuple[tuple[int, int], ...]] = Counter()
        self._inserts: dict[tuple[tuple[int, int], ...], str] = {}

    def commit(self, group: Sequence[Submission]) -> None:
        """Write all of a group in one transaction. Raises the driver's errors, and nothing is done."""
        batches = self._batches(group)
        insert = self._insert(batches)
        if insert is not None:
            values = chain.from_iterable(chain.from_iterable(prepared.values(rows) for prepared, rows in batches))
            self.connection.execute(insert, tuple(values))
            return
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            for prepared, rows in batches:
                prepared.execute(self.connection, rows)
            self.connection.execute("COMMIT")
        except BaseException:
            self.rollback()
            raise

    def write(self, part: Sequence[Submission]) -> None:
        """Write rows in a transaction that has begun."""
        for prepared, rows in self._batches(part):
            prepared.execute(self.connection, rows)

    def rollback(self) -> None:
        """End a transaction, if there is one, with nothing done."""
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    def _batches(self, part: Sequence[Submission]) -> list[Batch]:
        batches: list[tuple[TableWrite, list[Mapping[str, Any]]]] = []
        # By table the last batch: what is done with its rows is done in order.
        last: dict[int, tuple[TableWrite, list[Mapping[str, Any]]]] = {}
        for submission in part:
            for write, row in submission.writes:
                batch = last.get(id(write.table))
                if batch is None or batch[0] is not write:
                    batch = last[id(write.table)] = write, []
                    batches.append(batch)
                batch[1].append(row)
        return [(self._prepare(write, tuple(rows[0])), rows) for write, rows in batches]

    def _prepare(self, write: TableWrite, columns: tuple[str, ...]) -> PreparedWrite:
        key = id(write), columns
        prepared = self._prepared.get(key)
        if prepared is None:
            prepared = self._prepared[key] = PreparedWrite(write, self._dialect, columns)
        return prepared

    def _insert(self, batches: Sequence[Batch]) -> str | None:
        """The statement that writes a group of this shape at once; None where it has no trigger."""
        shape = tuple((id(prepared), len(rows)) for prepared, rows in batches)
        insert = self._inserts.get(shape)
        if insert is not None or len(self._inserts) >= MAX_TRIGGERS:
            return insert
        if len(self._uses) >= MAX_SHAPES_COUNTED:
            self._uses.clear()
        self._uses[shape] += 1
        if self._uses[shape] < USES_BEFORE_TRIGGER:
            return None
        width = sum(prepared.width * len(rows) for prepared, rows in batches)
        if not 0 < width <= MAX_VALUES:
            return None
        insert = self._inserts[shape] = self._make_trigger(f"group_{len(self._inserts)}", batches, width)
        return insert

    def _make_trigger(self, name: str, batches: Sequence[Batch], width: int) -> str:
        columns = iter(range(width))
        statements = []
        for prepared, rows in batches:
            for sql in prepared.statements(len(rows)):
                first, *others = sql.split("?")
                statements.append(first + "".join(f"NEW.c{next(columns)}{part}" for part in others))
        nulls = ", ".join(f"NULL AS c{column}" for column in range(width))
        self.connection.execute(f"CREATE TEMP VIEW {name} AS SELECT {nulls}")
        self.connection.execute(
            f"CREATE TEMP TRIGGER {name}_rows INSTEAD OF INSERT ON {name} BEGIN {'; '.join(statements)}; END"
        )
        return f"INSERT INTO {name} VALUES ({', '.join('?' * width)})"  # noqa: S608 # nosec B608
