"""The interface of the record of calls to the handler wrapper; `services.kernel.audit_trail.recorder` has it."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from services.kernel.audit.draft import Draft
from services.kernel.errors import RedFireError
from services.kernel.policy import MethodPolicy
from services.kernel.rpc.call import Call, Origin

RecordOpening = Callable[[Call, Any, Origin, RedFireError | None], Awaitable[None]]


class Recorder(Protocol):
    """Writes the records of a process's calls."""

    def add(self, service: str, database: Any) -> None:
        """Take a service's database for its records."""

    async def finish(self, policy: MethodPolicy, draft: Draft, code: str, error: BaseException | None) -> None:
        """Record the end of a call; nothing is to do where its change took the record along and it succeeded."""

    async def refused(self, policy: MethodPolicy, call: Call, origin: Origin, error: BaseException) -> None:
        """Record the refusal of a call to an RPC that itself is not recorded."""

    def openings(self, policy: MethodPolicy) -> RecordOpening:
        """Make the recording of a stream's opening, where that is recorded, and of its refusal."""
