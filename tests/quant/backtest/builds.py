"""The builds of the core that the tests run: both where there is a compiled one; in CI there must be."""

import os

from services.quant.backtest.engine.compile import is_built

BUILDS = ("pure", "compiled") if is_built() else ("pure",)
MUST_BE_COMPILED = os.environ.get("CI") == "true"
