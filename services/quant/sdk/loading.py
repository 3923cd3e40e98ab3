"""Finding and importing strategy classes: the user's folder, Python entry points, RedFire's own, vnpy's.

The user's come first: a file of theirs may replace a class that ships. Only a worker process calls this: importing a
file runs it.
"""

import ast
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from services.quant.sdk.guard import Guard
from services.quant.sdk.strategy_class import ClassDescription, describe, family_of
from services.quant.sdk.worker_heartbeat import HeartbeatFile

ENTRY_POINTS = "redfire.strategies"
_OWN = ("services.quant.sdk.moving_average",)
_VNPY = "vnpy_ctastrategy"
USER_MODULE = "redfire_user_"
"""The prefix of modules that are imported from a user's folder."""


class UnknownClass(Exception):
    """No file, entry point or package has a strategy class of this name."""


@dataclass(frozen=True, slots=True)
class Source:
    """A place that strategy classes come from."""

    label: str
    path: Path | None = None
    module: str = ""
    entry: Any = None

    def may_define(self, class_name: str) -> bool:
        """Return whether importing it may bring the class: files are read, not run."""
        if self.path is None:
            return self.entry is None or class_name in (self.entry.name, self.entry.value.rpartition(":")[2])
        try:
            tree = ast.parse(self.path.read_bytes())
        except (SyntaxError, ValueError, OSError):
            return False
        return any(isinstance(node, ast.ClassDef) and node.name == class_name for node in ast.walk(tree))


class Loader:
    """Imports classes for one worker; `skip` says which sources killed or blocked a worker before, and how."""

    def __init__(self, strategies_dir: Path | None, skip: dict[str, str] | None = None) -> None:
        self._dir = strategies_dir
        self._skip = skip or {}

    def scan(self, heartbeat: HeartbeatFile | None = None) -> Iterator[list[ClassDescription]]:
        """Yield the classes of each source, in turn; a source that fails is one description with its error."""
        known: dict[str, str] = {}
        for source in self._sources():
            descriptions: list[ClassDescription] = []
            for description in self._scan_source(source, heartbeat):
                if description.name in known and not description.error:
                    if not source.path or source.module:
                        continue  # shipped, and replaced by the user's
                    error = f"{description.name} is defined in {known[description.name]} already"
                    description = ClassDescription(source.label, error=error)
                known.setdefault(description.name, source.label)
                descriptions.append(description)
            yield descriptions

    def load(self, class_name: str) -> type:
        """The class of this name, from a fresh import when its file has changed. Raises UnknownClass, or whatever
        importing it raises."""
        for source in self._sources():
            if source.may_define(class_name):
                for strategy_class in self._classes(self._import(source), source):
                    if strategy_class.__name__ == class_name:
                        return strategy_class
        raise UnknownClass(f"there is no strategy class {class_name}")

    def _sources(self) -> Iterator[Source]:
        if self._dir is not None and self._dir.is_dir():
            for path in sorted(self._dir.glob("*.py")):
                if not path.name.startswith(("_", ".")):
                    yield Source(path.name, path)
        for entry in sorted(entry_points(group=ENTRY_POINTS), key=lambda e: e.name):
            yield Source(f"entry point {entry.name}", entry=entry)
        for module in _OWN:
            yield Source(module, module=module)
        package = importlib.util.find_spec(_VNPY)
        if package is not None and package.submodule_search_locations:
            for path in sorted(Path(package.submodule_search_locations[0], "strategies").glob("*.py")):
                if not path.name.startswith("_"):
                    yield Source(path.name, path, f"{_VNPY}.strategies.{path.stem}")

    def _scan_source(self, source: Source, heartbeat: HeartbeatFile | None) -> list[ClassDescription]:
        if source.label in self._skip:
            return [ClassDescription(source.label, error=self._skip[source.label])]
        slot = heartbeat.take(f"import:{source.label}") if heartbeat else None
        try:
            module = Guard(slot).call("import", self._import, source)
            return [describe(strategy_class) for strategy_class in self._classes(module, source)]
        except (Exception, SystemExit) as error:
            return [ClassDescription(source.label, error=import_error(error, source.path))]
        finally:
            if heartbeat and slot:
                heartbeat.release(slot)

    def _import(self, source: Source) -> Any:
        if source.entry is not None:
            self._prepare_vnpy()
            return source.entry.load()
        if source.module:
            if source.module.startswith(_VNPY):
                self._prepare_vnpy()
            return importlib.import_module(source.module)
        assert source.path is not None
        if b"vnpy" in source.path.read_bytes():
            self._prepare_vnpy()
        return self._import_file(source.path)

    def _import_file(self, path: Path) -> ModuleType:
        folder = str(path.parent)
        if folder not in sys.path:
            sys.path.append(folder)
        # The name changes with the file, so that a running worker imports a changed file anew.
        name = f"{USER_MODULE}{path.stem}_{path.stat().st_mtime_ns}"
        if name in sys.modules:
            return sys.modules[name]
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        return module

    @staticmethod
    def _classes(imported: Any, source: Source) -> list[type]:
        if family_of(imported):
            return [imported]
        values = list(vars(imported).values()) if isinstance(imported, ModuleType) else []
        # A module's own classes, not those it imports; an entry point may gather classes of several modules.
        return [v for v in values if family_of(v) and (source.entry or v.__module__ == imported.__name__)]

    def _prepare_vnpy(self) -> None:
        """Vnpy reads and writes below the working folder, and takes over logging unless its settings say no."""
        if "vnpy.trader.setting" in sys.modules:
            return
        from vnpy.trader.setting import SETTINGS

        SETTINGS["log.file"] = SETTINGS["log.console"] = False


def import_error(error: BaseException, path: Path | None) -> str:
    """One line for the file's author, `file:line: error`; without the place where that is not in `path`.

    `path`: the file that was imported, or the folder that it is in.
    """
    what = traceback.format_exception_only(error)[-1].strip()
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}:{error.lineno}: {what}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if path is not None and path in (file, *file.parents):
            return f"{file.name}:{frame.lineno}: {what}"
    return what
