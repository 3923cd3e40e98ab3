"""Writes vnpy's gateways as a file of settings for `redfire up --config`, without replacing what is there."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from services.commands.click_command import BadInput
from services.commands.imports.secrets import FoundSecrets
from services.commands.imports.vnpy_folder import VnpyGateway
from services.kernel.atomic_file import PRIVATE, write_atomically

FILE = "gateways.yaml"


@dataclass(frozen=True, slots=True)
class GatewayPlan:
    """Import of a gateway: `state` is new, same, or other (there already with other values, which stay)."""

    name: str
    settings: dict[str, Any]
    state: str
    is_installed: bool


def plan_gateways(file: Path, gateways: Sequence[VnpyGateway], secrets: FoundSecrets) -> list[GatewayPlan]:
    """Compare the gateways with those of the file. Raises BadInput where that cannot be read."""
    there = _read(file)
    plans = []
    for gateway in gateways:
        settings = {
            "module": gateway.module,
            "class": gateway.class_name,
            "auto_connect": False,
            "setting": secrets.take(gateway.setting, "", gateway.name.lower()),
        }
        before = there.get(gateway.name)
        # Whether it connects by itself is for its user to change afterwards.
        same = isinstance(before, dict) and {**before, "auto_connect": False} == settings
        state = "new" if before is None else "same" if same else "other"
        plans.append(GatewayPlan(gateway.name, settings, state, find_spec(gateway.module) is not None))
    return plans


def write_gateways(file: Path, plans: Sequence[GatewayPlan]) -> None:
    """Add the new ones to the file. Raises BadInput."""
    new = {plan.name: plan.settings for plan in plans if plan.state == "new"}
    if not new:
        return
    document = {"engine": {"gateways": {**_read(file), **new}}}
    text = yaml.safe_dump(document, allow_unicode=True, sort_keys=False)
    try:
        write_atomically(file, text.encode(), mode=PRIVATE)
    except OSError as error:
        raise BadInput(f"{file}: {error.strerror or error}") from None


def _read(file: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise BadInput(f"{file}: {error.strerror or error}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise BadInput(f"{file}: this is not YAML") from None
    engine = document.get("engine") if isinstance(document, dict) and set(document) == {"engine"} else None
    gateways = engine.get("gateways") if isinstance(engine, dict) and set(engine) == {"gateways"} else None
    if not isinstance(gateways, dict):
        raise BadInput(f"{file}: has other things than engine.gateways; move it away, or merge the two by hand")
    return gateways
