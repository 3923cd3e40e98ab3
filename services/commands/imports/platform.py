"""Brings settings and strategies into a running platform, and compares what it has then with what was asked for."""

import asyncio
import hashlib
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct
from redfire.config.v1 import config_pb2
from redfire.config.v1.config_pb2_grpc import ConfigServiceStub
from redfire.strategy.v1 import strategy_pb2
from redfire.strategy.v1.strategy_pb2_grpc import StrategyServiceStub

from services.commands.imports.vnpy_folder import VnpyStrategy
from services.commands.market.edge_client import EdgeClient
from services.kernel.errors import RedFireError, Unavailable

SERVICE = "vnpy"
"""The service of config under which vnpy's settings are."""


@dataclass(frozen=True, slots=True)
class Platform:
    """Target of an import: a platform, an environment of its config, and the account of the strategies."""

    data_dir: Path
    edge: str | None
    token: str | None
    environment: str
    account_id: str


@dataclass(slots=True)
class StrategyPlan:
    """Import of a strategy: `state` is new, made, there, refused or waits (for a platform that runs)."""

    strategy: VnpyStrategy
    state: str = "new"
    strategy_id: str = ""
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.strategy.position:
            self.problems.append(
                f"its position of {self.strategy.position:g} in vnpy is not brought over: here it comes from trades"
            )

    @property
    def sentence(self) -> str:
        """One line about it."""
        made = self.strategy
        problems = "".join(f"; {problem}" for problem in self.problems)
        return f"{made.name}: {made.class_name} on {made.symbol}, {self.state}{problems}"

    def as_dict(self) -> dict[str, Any]:
        """Its part of the report."""
        return {
            "name": self.strategy.name,
            "class_name": self.strategy.class_name,
            "symbol": self.strategy.symbol,
            "state": self.state,
            "strategy_id": self.strategy_id,
            "problems": self.problems,
        }


def bring(platform: Platform, settings: dict[str, Any], strategies: list[StrategyPlan], *, apply: bool) -> list[str]:
    """Import settings, create strategies; the keys that config does not have as asked. Raises the kernel's errors."""

    # Settings are the administrator's, strategies their owner's.
    is_ours = (platform.data_dir / "admin-password").exists()
    admin = EdgeClient(platform.data_dir, platform.edge, None if is_ours else platform.token)
    owner = EdgeClient(platform.data_dir, platform.edge, platform.token)

    async def run() -> list[str]:
        differing = []
        if settings:
            async with admin:
                differing = await import_settings(admin, platform.environment, {SERVICE: settings}, apply=apply)
        if strategies and apply:
            async with owner:
                for plan in strategies:
                    await _create(owner, platform.account_id, plan)
        return differing if apply else []

    return asyncio.run(run())


async def import_settings(
    client: EdgeClient, environment: str, document: dict[str, dict[str, Any]], *, apply: bool
) -> list[str]:
    """Import a document into an environment, all or nothing; `service.key` of what is not the same afterwards.

    Without `apply` what would change.
    """
    document = {service: values for service, values in document.items() if values}
    if not document:
        return []
    request = config_pb2.ImportConfigsRequest(
        environment=environment,
        document=json.dumps(document, ensure_ascii=False),
        format=config_pb2.DOCUMENT_FORMAT_JSON,
        dry_run=not apply,
    )
    answer = await client.call("ImportConfigs", request, ConfigServiceStub)
    if not apply:
        return [f"{change.service_name}.{change.key}" for change in answer.changes]
    export = config_pb2.ExportConfigsRequest(environment=environment, format=config_pb2.DOCUMENT_FORMAT_JSON)
    there = json.loads((await client.call("ExportConfigs", export, ConfigServiceStub)).document)
    return [
        f"{service}.{key}"
        for service, values in document.items()
        for key, value in values.items()
        if key not in there.get(service, {}) or not _same(there[service][key], value)
    ]


async def _create(client: EdgeClient, account_id: str, plan: StrategyPlan) -> None:
    wanted = plan.strategy
    identity = json.dumps([wanted.name, wanted.class_name, wanted.symbol], ensure_ascii=False)
    request = strategy_pb2.CreateStrategyRequest(
        display_name=wanted.name[:100],
        class_name=wanted.class_name,
        symbol=wanted.symbol,
        account_id=account_id,
        # Repeated, it is the same strategy.
        request_id=f"vnpy-{hashlib.sha256(identity.encode()).hexdigest()[:32]}",
    )
    try:
        json_format.ParseDict(wanted.parameters, request.parameters)
        json_format.ParseDict(wanted.variables, request.variables)
        answer = await client.call("CreateStrategy", request, StrategyServiceStub)
    except json_format.ParseError as error:
        plan.state = "refused"
        plan.problems.append(f"its values are not JSON: {error}")
        return
    except RedFireError as error:
        if isinstance(error, Unavailable):
            raise
        plan.state = "refused"
        plan.problems.append(error.message)
        return
    made = answer.strategy
    plan.strategy_id, plan.state = made.strategy_id, "here, as in vnpy"
    differences = _differences("parameter", wanted.parameters, made.parameters)
    differences += _differences("variable", wanted.variables, made.variables)
    if differences:
        plan.state = "here, with other values"
        plan.problems += differences


def _differences(what: str, wanted: dict[str, Any], made: Struct) -> list[str]:
    there = json_format.MessageToDict(made)
    return [
        f"{what} {key} is {there.get(key)!r} here, {value!r} in vnpy"
        for key, value in wanted.items()
        if key not in there or not _same(there[key], value)
    ]


def _same(one: Any, other: Any) -> bool:
    """Test for equal JSON; a number is one, whole or not."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=0, abs_tol=0)
    return bool(one == other)
