"""Acts of callers, and a database with their records, for the tests of the record."""

from contextlib import contextmanager

from google.protobuf import descriptor_pool
from redfire.risk.v1 import risk_pb2  # noqa: F401 the descriptors

from services.kernel.audit.draft import Draft, act_of, current_draft
from services.kernel.identity.identity import Identity
from services.kernel.rpc.call import Call, new_traceparent
from tests.kernel.data.cups import cup

METHOD = "/redfire.risk.v1.RiskService/SetTradingState"


@contextmanager
def acting(user: str, method: str = METHOD, request=None):
    """The running code serves a recorded call of this user."""
    descriptor_pool.Default().FindFileContainingSymbol(method[1:].partition("/")[0])
    identity = Identity("user", user_id=user, session_id=f"session-of-{user}")
    call = Call(method, identity, f"request-of-{user}", new_traceparent(), "10.1.2.3")
    draft = Draft(act_of(method), call, request)
    token = current_draft.set(draft)
    try:
        yield draft
    finally:
        current_draft.reset(token)


async def write(database, user: str, name: str) -> None:
    """One act of a user by the writer, which makes a cup."""
    with acting(user):
        await database.writer().submit([cup(name)])


async def write_unit(database, user: str, change=None) -> None:
    """One act of a user by a unit of work."""
    with acting(user):
        async with database.repositories(lambda session: session)() as session:
            if change is not None:
                await change(session)
