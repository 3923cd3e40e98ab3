"""The builds of the core that the tests run: both where there is a compiled one; in CI there must be."""

import os

from services.strategy.backtest.variant import is_compiled


def _builds() -> tuple[str, ...]:
    if is_compiled():
        return ("pure", "compiled")
    return ("pure",)


BUILDS = _builds()
MUST_BE_COMPILED = os.environ.get("CI") == "true"
