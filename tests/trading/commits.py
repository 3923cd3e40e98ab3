"""The commits of both writers in a test's hands: they are held up, fail, or happen without an answer."""

import asyncio
import sqlite3
import threading

from services.kernel.data.postgres_writer import PostgresWriter
from services.kernel.data.sqlite_batch import BatchWriter
from services.kernel.errors import CommitUnknown

NOTHING_DONE, ANSWER_LOST = "nothing done", "answer lost"
_REASON = "the test breaks the database"


class Commits:
    """Stands before the transactions of SQLite's writer and of PostgreSQL's.

    `fault` is asked for each group of submissions: NOTHING_DONE, ANSWER_LOST or None. While `closed`, commits pass one
    by one as `let` says; `arrived` counts.
    """

    def __init__(self, monkeypatch):
        self.fault = lambda group: None
        self.closed = False
        self.arrived = 0
        self._passes = threading.Semaphore(0)
        to_file, to_server = BatchWriter.commit, PostgresWriter._commit_once

        def write_to_file(writer, group):
            self.arrived += 1
            if self.closed:
                self._passes.acquire(timeout=10)
            fault = self.fault(group)
            if fault != NOTHING_DONE:
                to_file(writer, group)
            if fault:
                raise sqlite3.OperationalError(_REASON)

        async def write_to_server(writer, connection, group, in_parts):
            self.arrived += 1
            if self.closed:
                await asyncio.to_thread(self._passes.acquire, timeout=10)
            fault = self.fault(group)
            if fault == NOTHING_DONE:
                raise OSError(_REASON)
            outcomes = await to_server(writer, connection, group, in_parts)
            if fault:
                raise CommitUnknown
            return outcomes

        monkeypatch.setattr(BatchWriter, "commit", write_to_file)
        monkeypatch.setattr(PostgresWriter, "_commit_once", write_to_server)

    def close(self):
        self.closed, self.arrived = True, 0

    def let(self, count):
        for _ in range(count):
            self._passes.release()

    def open(self):
        self.closed = False
        self.let(1)


def tables(group):
    """The names of the tables that a group writes."""
    return {write.table.name for submission in group for write, _ in submission.writes}
