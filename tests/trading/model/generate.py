"""Runs of operations by seed, and making a failing one smaller."""

import contextlib
import random
from collections.abc import Callable, Sequence

from tests.trading.model.base import Op, Violation
from tests.trading.model.driver import Model
from tests.trading.model.loop import simulated

# How often, and up to what each number is.
RULES: dict[str, tuple[int, tuple[int, ...]]] = {
    "create": (30, (4, 4, 49, 100)),
    "again": (4, (12,)),
    "cancel": (8, (12,)),
    "replace": (8, (12, 18, 5)),
    "cancel_all": (1, (12,)),
    "close": (4, (4, 12)),
    "follow_anew": (2, (24,)),
    "price": (12, (4, 13)),
    "fill": (22, (12, 6)),
    "venue_ends": (2, (12, 2)),
    "foreign": (1, (4, 6)),
    "bracket": (6, (4, 4, 60)),
    "oco": (4, (4, 4, 60)),
    "cancel_group": (1, (4,)),
    "bust": (4, (12, 2)),
    "adopt": (1, (12,)),
    "admin_cancels": (1, (12,)),
    "engine_forgets": (1, ()),
    "day": (2, (4,)),
    "line": (2, (2, 1)),
    "faults": (3, (3,)),
    "streams": (1, ()),
    "engine": (2, (1,)),
    "kill": (3, (400,)),
    "kill_at_commit": (1, (2,)),
    "write_fails": (1, (2,)),
    "settle": (3, (2,)),
}
NOISE = 2**31


def operations(seed: int, steps: int) -> list[Op]:
    """A run of a seed."""
    rng = random.Random(seed)
    names = list(RULES)
    weights = [RULES[name][0] for name in names]
    result = []
    for name in rng.choices(names, weights, k=steps - 1):
        numbers = tuple(rng.randrange(limit) for limit in RULES[name][1])
        result.append(Op(name, numbers, rng.randrange(NOISE)))
    return [*result, Op("settle", (1,), rng.randrange(NOISE))]


def run(seed: int, ops: Sequence[Op], inspect: Callable[[Model], None] | None = None) -> Violation | None:
    """Do operations; answers what was violated, or None. Anything else that is raised is a fault, too."""
    with simulated(seed) as loop:
        model = Model(loop, seed)
        try:
            model.do(model.begin())
            for op in ops:
                model.do(model.apply(op))
        except Violation as violation:
            return violation
        except Exception as error:
            violation = Violation(f"{type(error).__name__}: {error}")
            violation.__cause__ = error
            return violation
        finally:
            with contextlib.suppress(Exception):
                model.do(model.end())
            if inspect is not None:
                inspect(model)
    return None


def smaller(seed: int, ops: list[Op], tries: int = 300) -> list[Op]:
    """Leave out what is not needed for a failure (ddmin), in at most so many tries."""
    size = max(1, len(ops) // 2)
    while tries > 0:
        start, left_out = 0, False
        while start < len(ops) and tries > 0:
            fewer = ops[:start] + ops[start + size :]
            tries -= 1
            if fewer and run(seed, fewer) is not None:
                ops, left_out = fewer, True
            else:
                start += size
        if size == 1 and not left_out:
            return ops
        size = max(1, size // 2) if not left_out or size > len(ops) else size
    return ops
