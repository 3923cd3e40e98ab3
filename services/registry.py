"""The services of RedFire, in the order in which they start: the one line that a new service adds."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

from services.kernel.runtime.sections import BaseSection
from services.kernel.runtime.service_context import ServiceContext


@dataclass(frozen=True, slots=True)
class Service:
    """A service: the services it calls (every service calls auth and config), and how it is spread.

    Of which RPCs it is a caller the contract says. `replicated`: several processes of it may run side by
    side, on one PostgreSQL. `beside`: the service whose process it shares.
    """

    calls: Sequence[str] = ()
    replicated: bool = False
    beside: str = ""

    def bind(self, name: str, context: ServiceContext) -> None:
        """Build it; its modules are imported only where it runs."""
        import_module(f"services.{name}.bind").bind(context)


SERVICES: dict[str, Service] = {
    "config": Service(replicated=True),
    "auth": Service(calls=["user"], replicated=True),
    "user": Service(calls=["auth"], replicated=True),
    "engine": Service(),
    "market": Service(calls=["engine", "market"], replicated=True),
    "trading": Service(calls=["engine", "market", "risk"], replicated=True),
    "risk": Service(calls=["engine", "market", "trading"], replicated=True, beside="trading"),
    "strategy": Service(calls=["auth", "market", "trading"], replicated=True),
}


def sections() -> tuple[type[BaseSection], ...]:
    """The settings of all services and of the edge, by convention in `services/<name>/settings.py`."""
    classes: list[type[BaseSection]] = []
    for name in ("mesh", *SERVICES):
        module = f"services.{name}.settings"
        if find_spec(module) is None:
            continue
        for item in vars(import_module(module)).values():
            own = isinstance(item, type) and issubclass(item, BaseSection) and item.__module__ == module
            if own and "section" in vars(item):
                classes.append(item)
    return tuple(classes)
