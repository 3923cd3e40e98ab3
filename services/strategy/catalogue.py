"""The classes that can be run, as a worker last reported them; asked for anew when files have changed."""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from redfire.reasons import Reason

from services.kernel.data.repositories import Repositories
from services.kernel.errors import FailedPrecondition, NotFound, Unavailable
from services.kernel.version import VERSION
from services.quant.sdk.strategy_class import ClassDescription, Family, Parameter
from services.strategy.repository import StrategyRepository

log = logging.getLogger(__name__)
_PATIENCE_S = 8.0
# Callers that need one class have less time.
_PATIENCE_FOR_ONE_S = 3.0
_LOOK_S = 5.0


class UnknownStrategyClass(NotFound):
    """The strategy class does not exist."""

    reason = Reason.UNKNOWN_STRATEGY_CLASS


class BrokenStrategyClass(FailedPrecondition):
    """The strategy class did not import."""

    reason = Reason.UNKNOWN_STRATEGY_CLASS


class Catalogue:
    """Strategy classes by name."""

    def __init__(
        self,
        repositories: Repositories[StrategyRepository],
        strategies_dir: Callable[[], Path | None],
        scan: Callable[[bool], Awaitable[bool]],
    ) -> None:
        """`scan(fresh)` has a worker report the classes; True once it did."""
        self._repositories = repositories
        self._strategies_dir = strategies_dir
        self._scan = scan
        self._fingerprint = ""
        self._scanned_fingerprint = ""
        self._classes: dict[str, ClassDescription] = {}
        self._scanning: asyncio.Task[None] | None = None

    async def load(self) -> None:
        """Load the classes that were reported before the restart."""
        async with self._repositories.read() as repository:
            saved = await repository.find_classes()
        if saved is not None:
            self._fingerprint = saved[0]
            self._take([_from_json(item) for item in saved[1]])

    async def list_classes(self) -> Sequence[ClassDescription]:
        """All by name. Waits some seconds for a worker when files have changed, then answers what is known."""
        await self._refresh()
        return [self._classes[name] for name in sorted(self._classes)]

    async def get(self, class_name: str) -> ClassDescription:
        """Raises UnknownStrategyClass, BrokenStrategyClass; Unavailable while a worker still looks for it."""
        await self._refresh(_PATIENCE_FOR_ONE_S)
        description = self._classes.get(class_name)
        if description is None and self._scanning is not None:
            raise Unavailable("the files of strategies are still being read; try again", retry_after_s=1.0)
        if description is None:
            raise UnknownStrategyClass("strategy class", class_name, class_name=class_name)
        if description.error:
            raise BrokenStrategyClass(f"{class_name} cannot be run: {description.error}", class_name=class_name)
        return description

    async def report_classes(self, classes: Sequence[ClassDescription]) -> None:
        """A worker has looked. What does not import is a line in log and terminal, once."""
        for item in classes:
            if item.error and self._classes.get(item.name) != item:
                log.warning("strategies of %s cannot be run: %s", item.name, item.error)
        self._take(classes)
        fingerprint = self._scanned_fingerprint
        async with self._repositories() as repository:
            await repository.put_classes(fingerprint, [asdict(item) for item in classes])
        self._fingerprint = fingerprint

    async def stop(self) -> None:
        """End a scan that is under way."""
        if self._scanning is not None:
            self._scanning.cancel()
            await asyncio.gather(self._scanning, return_exceptions=True)

    async def follow(self) -> None:
        """Look now and then whether files have changed, so that the list is ready before it is asked for."""
        while True:
            await self._refresh()
            await asyncio.sleep(_LOOK_S)

    async def _refresh(self, patience_s: float = _PATIENCE_S) -> None:
        if self._scanning is None and self._fingerprint != (now := self._present()):
            self._scanned_fingerprint = now
            self._scanning = asyncio.get_running_loop().create_task(self._scan_once(), name="strategy classes")
        if self._scanning is not None:
            await asyncio.wait([self._scanning], timeout=patience_s)

    async def _scan_once(self) -> None:
        try:
            await self._scan(True)
        finally:
            self._scanning = None

    def _take(self, classes: Sequence[ClassDescription]) -> None:
        self._classes = {item.name: item for item in classes}

    def _present(self) -> str:
        """A hash of everything that changes the list: versions, and names, sizes and times of the user's files."""
        parts = [VERSION, *(_version(name) for name in ("vnpy_ctastrategy", "vnpy"))]
        folder = self._strategies_dir()
        if folder is not None and folder.is_dir():
            parts.append(str(folder.absolute()))
            for file in sorted(folder.glob("*.py")):
                status = file.stat()
                parts.append(f"{file.name}:{status.st_size}:{status.st_mtime_ns}")
        return hashlib.sha256("|".join(parts).encode()).hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _from_json(item: dict[str, Any]) -> ClassDescription:
    parameters = tuple(Parameter(**parameter) for parameter in item["parameters"])
    return ClassDescription(item["name"], Family(item["family"]), item["doc"], item["error"], parameters)
