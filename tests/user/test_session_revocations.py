"""The delivery of session revocations to auth: each once, however many look at the table."""

import asyncio
from contextlib import asynccontextmanager

from services.user.session_revocations import SessionRevocations
from services.user.user import SessionRevocation


class Table:
    """The table of revocations that auth has not taken yet."""

    def __init__(self, *rows: SessionRevocation) -> None:
        self.rows = list(rows)

    async def list_revocations(self) -> list[SessionRevocation]:
        return list(self.rows)

    async def remove_revocation(self, revocation_id: str) -> None:
        self.rows = [row for row in self.rows if row.revocation_id != revocation_id]

    @asynccontextmanager
    async def __call__(self):
        yield self

    read_one = __call__


async def test_one_that_was_read_as_waiting_and_delivered_since_ends_no_session_that_began_in_between():
    revocation = SessionRevocation("r1", "alice")
    table, ended = Table(revocation), []

    async def end_sessions(one: SessionRevocation) -> None:
        ended.append(one.revocation_id)

    revocations = SessionRevocations(table, end_sessions)
    waiting = await revocations._waiting()
    await revocations.deliver(revocation)
    # The loop that looks for what waits goes on with what it read before.
    for one in waiting:
        await revocations.deliver(one)
    assert ended == ["r1"] and table.rows == []


async def test_a_row_that_could_not_be_removed_is_removed_later_and_not_delivered_again():
    revocation = SessionRevocation("r1", "alice")
    table, ended = Table(revocation), []

    async def end_sessions(one: SessionRevocation) -> None:
        ended.append(one.revocation_id)

    revocations = SessionRevocations(table, end_sessions)
    await revocations.deliver(revocation)
    table.rows = [revocation]
    running = asyncio.create_task(revocations.run())
    while table.rows:
        await asyncio.sleep(0)
    running.cancel()
    assert ended == ["r1"]
