"""The builds of the core that the tests run: both where there is a compiled one; in CI there must be."""

import os

from services.quant.compile import BACKTEST, is_built

BUILDS = ("pure", "compiled") if is_built(BACKTEST) else ("pure",)
MUST_BE_COMPILED = os.environ.get("CI") == "true"
