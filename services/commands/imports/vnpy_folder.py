"""Reads what a vnpy user's folder has: global settings, gateways, CTA strategies with their variables, the database."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from services.commands.click_command import BadInput

_SETTINGS = "vt_setting.json"
_STRATEGIES = "cta_strategy_setting.json"
_VARIABLES = "cta_strategy_data.json"
_CONNECT = "connect_*.json"
_DATABASE = "database.db"
_RUN_STATE = ("inited", "trading")
"""Variables that vnpy sets anew whenever it starts a strategy."""


@dataclass(frozen=True, slots=True)
class VnpyGateway:
    """A gateway that was connected once: its name, and what was entered for it."""

    name: str
    setting: dict[str, Any]

    @property
    def module(self) -> str:
        """The package that it comes in, by vnpy's convention."""
        return f"vnpy_{self.name.lower()}"

    @property
    def class_name(self) -> str:
        """Its class, by vnpy's convention."""
        return f"{self.name.capitalize()}Gateway"


@dataclass(frozen=True, slots=True)
class VnpyStrategy:
    """A CTA strategy as vnpy's engine keeps it."""

    name: str
    class_name: str
    symbol: str
    parameters: dict[str, Any]
    variables: dict[str, Any] = field(default_factory=dict)
    """Its variables without its position."""
    position: float = 0.0


@dataclass(frozen=True, slots=True)
class VnpyFolder:
    """A folder's content. `database` is None where there is no file; `unread` says what is left out, and why."""

    path: Path
    settings: dict[str, Any]
    gateways: list[VnpyGateway]
    strategies: list[VnpyStrategy]
    database: Path | None
    timezone: str
    strategy_files: list[Path]
    unread: list[str]


def read_folder(folder: Path) -> VnpyFolder:
    """Read `.vntrader`, or the folder that it is in. Raises BadInput that names the file which cannot be read."""
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder")
    home = folder / ".vntrader" if (folder / ".vntrader").is_dir() else folder
    settings = _object(home / _SETTINGS)
    database = _database(home, settings)
    gateways = [_gateway(file) for file in sorted(home.glob(_CONNECT))]
    strategies, unread = _strategies(home)
    if not settings and not gateways and not strategies and database is None:
        raise BadInput(
            f"{folder}: nothing of vnpy's here: no {_SETTINGS}, {_CONNECT}, {_STRATEGIES} or {_DATABASE}, "
            "nor a .vntrader with one"
        )
    source = settings.get("database.name", settings.get("database.driver", "sqlite"))
    if source not in ("", "sqlite"):
        unread.append(f"the database {source!r} of {_SETTINGS}: only vnpy's SQLite files are read")
        database = None
    files = sorted((home.parent if home != folder else folder).glob("strategies/*.py"))
    zone = str(settings.get("database.timezone") or "Asia/Shanghai")
    return VnpyFolder(home, settings, gateways, strategies, database, zone, files, unread)


def _database(home: Path, settings: dict[str, Any]) -> Path | None:
    name = settings.get("database.database") or _DATABASE
    file = home / str(name)
    return file if file.is_file() else None


def _gateway(file: Path) -> VnpyGateway:
    name = file.stem.removeprefix("connect_").upper()
    if not name.isidentifier():
        raise BadInput(f"{file}: {name!r} is not a gateway's name")
    return VnpyGateway(name, _object(file))


def _strategies(home: Path) -> tuple[list[VnpyStrategy], list[str]]:
    settings, kept = _object(home / _STRATEGIES), _object(home / _VARIABLES)
    strategies = []
    for name, entry in settings.items():
        where = f"{home / _STRATEGIES}: {name}"
        parameters = dict(_field(entry, "setting", dict, where))
        parameters.pop("class_name", None)  # vnpy's window puts it there too
        variables = dict(_dict(kept.get(name, {}), f"{home / _VARIABLES}: {name}"))
        position = variables.pop("pos", 0)
        if isinstance(position, bool) or not isinstance(position, int | float):
            raise BadInput(f"{home / _VARIABLES}: {name}: pos {position!r} is not a number")
        strategies.append(
            VnpyStrategy(
                name,
                _field(entry, "class_name", str, where),
                _field(entry, "vt_symbol", str, where),
                parameters,
                {key: value for key, value in variables.items() if key not in _RUN_STATE},
                float(position),
            )
        )
    left = [f"{_VARIABLES}: {name}: {_STRATEGIES} has no such strategy" for name in kept if name not in settings]
    return strategies, left


def _object(file: Path) -> dict[str, Any]:
    """A JSON object of a file; empty where there is no file. Raises BadInput."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) < len(pairs):
            raise BadInput(f"{file}: a key is given twice")
        return members

    try:
        document = json.loads(file.read_text(encoding="utf-8-sig"), object_pairs_hook=unique)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise BadInput(f"{file}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{file}: this is not JSON: {error}") from None
    return _dict(document, str(file))


def _dict(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadInput(f"{where}: this is not an object")
    return cast(dict[str, Any], value)


def _field(entry: Any, name: str, kind: type, where: str) -> Any:
    value = _dict(entry, where).get(name)
    if not isinstance(value, kind):
        raise BadInput(f"{where}: {name} is missing, or is not {'an object' if kind is dict else 'a text'}")
    return value
