"""The handler wrapper's side of the record: what no transaction carried is written, durably, before the answer."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

from redfire.reasons import Reason

from services.kernel.audit.draft import Act, Draft, act_of, current_draft
from services.kernel.audit.redaction import redact
from services.kernel.client_network import network_of
from services.kernel.data.database import Database
from services.kernel.errors import Denied, RedFireError, Unauthenticated, Unavailable
from services.kernel.identity.identity import SERVICE_KEY
from services.kernel.policy import MethodPolicy
from services.kernel.rpc.call import Call, Origin
from services.kernel.rpc.status import code_of, grpc_code

log = logging.getLogger(__name__)
REFUSALS_A_SECOND, REFUSALS_AT_ONCE = 20, 200
"""Records of refused calls, of all callers together whom nobody knows, and of each user: more are counted, so that
nobody fills the disk. Users have their own, so that no flood of strangers hides what one of them tries."""
OF_A_NETWORK_A_SECOND, OF_A_NETWORK_AT_ONCE = 5, 100
"""The same of each address, of IPv6 each /64: from one alone nobody hides another."""
MOST_BUDGETS = 10_000
# Of clients that are merely late: no sign of anything.
_EXPECTED = {Reason.TOKEN_EXPIRED}


class _Budget:
    """Records that are left; it fills with time."""

    __slots__ = ("_left", "_refilled", "suppressed")

    def __init__(self, at_once: int) -> None:
        self._left, self._refilled = float(at_once), time.monotonic()
        self.suppressed = 0

    def take(self, a_second: float, at_once: int) -> bool:
        """Take one; where none is left that is counted."""
        now = time.monotonic()
        self._left = min(at_once, self._left + (now - self._refilled) * a_second)
        self._refilled = now
        if self._left < 1:
            self.suppressed += 1
            return False
        self._left -= 1
        return True


class Recorder:
    """Writes the records of a process's calls into the databases of their services."""

    def __init__(self) -> None:
        self._databases: dict[str, Database] = {}
        self._strangers = _Budget(REFUSALS_AT_ONCE)
        self._budgets: dict[str, _Budget] = {}

    def add(self, service: str, database: Database) -> None:
        """Take a service's database for its records."""
        self._databases.setdefault(service, database)

    async def finish(self, policy: MethodPolicy, draft: Draft, code: str, error: BaseException | None) -> None:
        """Record the end of a call: nothing is to do where its change took the record along and it succeeded.

        Raises Unavailable where a call that succeeded cannot be recorded.
        """
        joined = draft.joined
        if isinstance(joined, asyncio.Future) and not joined.done():
            await asyncio.wait([joined])
        if draft.is_recorded and code == "OK":
            return
        is_known = bool(draft.call.identity.user_id or draft.call.identity.service)
        if not is_known and not self._may_record(draft):
            return
        draft.joined = False
        draft.outcome, draft.reason = code, _reason(error)
        await self._write(policy.service, draft, is_ok=code == "OK")

    async def refused(self, policy: MethodPolicy, call: Call, origin: Origin, error: BaseException) -> None:
        """Record the refusal of a call to an RPC that itself is not recorded."""
        if not isinstance(error, Denied | Unauthenticated) or error.reason in _EXPECTED:
            return
        if isinstance(error, Unauthenticated) and (policy.internal or not _has_credentials(origin)):
            return
        # Nobody has checked the request, and nothing was done.
        draft = Draft(_refusals(policy.full_name), call, None)
        draft.outcome = "PERMISSION_DENIED" if isinstance(error, Denied) else "UNAUTHENTICATED"
        draft.reason = _reason(error)
        if self._may_record(draft):
            await self._write(policy.service, draft, is_ok=False)

    def openings(self, policy: MethodPolicy) -> Callable[[Call, Any, Origin, RedFireError | None], Awaitable[None]]:
        """Make the recording of a stream's opening, where that is recorded, and of its refusal."""
        act = act_of(policy.full_name) if policy.audit else None

        async def record(call: Call, request: Any, origin: Origin, error: RedFireError | None) -> None:
            if act is not None:
                code = "OK" if error is None else grpc_code(code_of(error)).name
                await self.finish(policy, Draft(act, call, request, origin.body), code, error)
            elif error is not None:
                await self.refused(policy, call, origin, error)

        return record

    async def _write(self, service: str, draft: Draft, is_ok: bool) -> None:
        # A service without a database of its own has its records in one of its process.
        database = self._databases.get(service) or next(iter(self._databases.values()), None)
        if database is None:
            record = draft.record()
            log.warning("%s by %s: %s", record.method, record.user_id or "nobody", record.outcome)
            return
        token = current_draft.set(draft)
        try:
            await database.writer().submit([])
        except RedFireError as error:
            log.error("%s of %s cannot be recorded: %s", draft.act.method, draft.call.identity.user_id, error.message)
            if is_ok:
                raise Unavailable("the call cannot be recorded") from None
        finally:
            current_draft.reset(token)

    def _may_record(self, draft: Draft) -> bool:
        identity = draft.call.identity
        if who := identity.user_id or identity.service:
            budgets = [self._budget(who, REFUSALS_AT_ONCE)]
            allowed = budgets[0].take(REFUSALS_A_SECOND, REFUSALS_AT_ONCE)
        else:
            budgets = [self._budget(network_of(draft.call.client_address), OF_A_NETWORK_AT_ONCE), self._strangers]
            allowed = budgets[0].take(OF_A_NETWORK_A_SECOND, OF_A_NETWORK_AT_ONCE)
            allowed = allowed and self._strangers.take(REFUSALS_A_SECOND, REFUSALS_AT_ONCE)
        if allowed and (suppressed := sum(budget.suppressed for budget in budgets)):
            draft.after = {"refusals_not_recorded_before": suppressed}
            for budget in budgets:
                budget.suppressed = 0
        return allowed

    def _budget(self, key: str, at_once: int) -> _Budget:
        """The budget of a user or a network; of very many the one that was made first begins anew."""
        budget = self._budgets.get(key)
        if budget is None:
            if len(self._budgets) >= MOST_BUDGETS:
                first = self._budgets.pop(next(iter(self._budgets)))
                self._strangers.suppressed += first.suppressed
            budget = self._budgets[key] = _Budget(at_once)
        return budget


@cache
def _refusals(method: str) -> Act:
    return Act(method, act_of(method).resource, None)


def _has_credentials(origin: Origin) -> bool:
    return any(origin.metadata.get(key) for key in ("authorization", "x-api-key", SERVICE_KEY))


def _reason(error: BaseException | None) -> str:
    if isinstance(error, RedFireError):
        return str(redact(f"{error.reason.value}: {error.message}"))
    return ""
