"""A run of `redfire verify`: trading's books first, then what spans services and the venue."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from services.commands.migrate import database_of, services_with_database
from services.commands.verify.convergence import Check, lasting_findings
from services.commands.verify.events_check import EventsCheck
from services.commands.verify.running_platform import RunningPlatform, find_platform
from services.kernel.data.database import Database
from services.kernel.data.repositories import Repositories
from services.kernel.errors import RedFireError, StartError
from services.kernel.runtime.settings import Settings
from services.trading.peers.engine_client import EngineClient
from services.trading.verify.books import check_books
from services.trading.verify.books_repository import BooksRepository
from services.trading.verify.finding import Finding, Findings
from services.trading.verify.memory_checks import compare_memory
from services.trading.verify.order_checks import unsettled
from services.trading.verify.venue_checks import VenueChecks


@dataclass(slots=True)
class Outcome:
    """Findings of a run, counts of what was checked, and what was left out."""

    findings: Findings
    counts: dict[str, int]
    # Why a part was not checked.
    left_out: list[str] = field(default_factory=list)
    # After a repair: how many findings there were before it.
    before_repair: int | None = None


async def verify_all(
    data_dir: Path,
    loaded: Settings,
    grace_s: float,
    progress: Callable[[float], None] = lambda part: None,
    repair: bool = False,
) -> Outcome:
    """Check everything; with `repair` have trading reconcile with its gateways for what is found, and check once more.

    Raises StartError where something cannot be read or asked.
    """
    async with AsyncExitStack() as stack:
        databases = {
            name: database
            for name in services_with_database()
            if (database := await stack.enter_async_context(_opened(loaded, name))) is not None
        }
        if "trading" not in databases:
            raise StartError(f"data folder {data_dir}: trading has no database there")
        platform = find_platform(data_dir, loaded)
        if platform is not None:
            stack.push_async_callback(platform.close)
        try:
            outcome = await _verify(databases, platform, grace_s, progress)
            if not repair or not outcome.findings.count:
                return outcome
            if platform is None:
                raise StartError("only a platform that runs can be asked to reconcile: start it, and repair then")
            await platform.reconcile()
            repaired = await _verify(databases, platform, grace_s, progress)
            repaired.before_repair = outcome.findings.count
            return repaired
        except RedFireError as error:
            raise StartError(error.message) from None
        except ArithmeticError:
            raise StartError("trading's database has an amount that is no number") from None


async def _verify(
    databases: dict[str, Database],
    platform: RunningPlatform | None,
    grace_s: float,
    progress: Callable[[float], None],
) -> Outcome:
    repositories = databases["trading"].repositories(BooksRepository)
    checked = await check_books(repositories, progress)
    outcome = Outcome(checked.findings, checked.counts)
    events = EventsCheck(databases, platform is not None)
    checks: list[Check] = [events.check]
    venues: list[VenueChecks] = []
    if platform is None:
        outcome.left_out.append("the venue and trading's memory: nothing runs on the data folder")
        async with repositories.read() as repository:
            until_ns = await repository.last_change_ns()
            stuck = unsettled(await repository.open_books(), until_ns - int(grace_s * 1e9))
        for finding in stuck:
            outcome.findings.add(finding)
    else:
        engine = EngineClient(platform.engine())
        gateways = await _gateways(engine, repositories)
        venues = [VenueChecks(gateway, engine, repositories) for gateway in gateways]
        checks += [partial(_unsettled, repositories), *(venue.check for venue in venues)]
        checks.append(partial(compare_memory, platform.trading(), repositories))
    for finding in await lasting_findings(checks, grace_s if platform is not None else 0.0):
        outcome.findings.add(finding)
    outcome.counts["events that wait"] = events.waiting
    outcome.counts["users"] = events.users
    if venues:
        outcome.counts["orders at venues"] = sum(venue.orders for venue in venues)
        outcome.counts["trades of the day at venues"] = sum(venue.trades for venue in venues)
    return outcome


async def _unsettled(repositories: Repositories[BooksRepository]) -> list[Finding]:
    """Orders whose outcome is open now; those that stay so are findings."""
    async with repositories.read() as repository:
        return unsettled(await repository.open_books(), time.time_ns())


async def _gateways(engine: EngineClient, repositories: Repositories[BooksRepository]) -> list[str]:
    """The gateways that accounts trade by and the engine has."""
    there: dict[str, bool] = {}

    async def ask() -> list[Finding]:
        there.update(await engine.connected_gateways())
        return []

    await lasting_findings([ask], 0.0)
    async with repositories.read() as repository:
        used = {account.gateway for account in (await repository.open_books()).accounts}
    return sorted(used & there.keys())


@asynccontextmanager
async def _opened(loaded: Settings, service: str) -> AsyncIterator[Database | None]:
    """A service's database; None where there is none. Raises StartError for one of another version."""
    database = database_of(loaded, service)
    try:
        problems = await database.check()
        if problems and problems != ["it does not exist"]:
            raise StartError(f"database {database.name}: {'; '.join(problems)}")
        yield None if problems else database
    finally:
        await database.close()
