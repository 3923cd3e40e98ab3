"""Trading and its venue under everything that may go wrong, checked against the venue's own book.

The same for an hour, by seeds: `python -m tests.trading.model --minutes 60 --seed 1`.
"""

import logging
import os
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.trading.model.base import Op
from tests.trading.model.driver import Model
from tests.trading.model.generate import NOISE, RULES, operations, run
from tests.trading.model.loop import simulated

EXAMPLES, STEPS = 40, 55
SEEDS, SEED_STEPS = 8, 150
# Making a failing run smaller takes minutes: asked for with MODEL_SHRINK=1.
PHASES = (Phase.generate, Phase.shrink) if os.environ.get("MODEL_SHRINK") else (Phase.generate,)


class Machine(RuleBasedStateMachine):
    """One run: hypothesis chooses what happens, and makes what fails smaller."""

    steps_done = 0

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self._model: Model | None = None

    @initialize(seed=st.integers(0, NOISE))
    def begin(self, seed: int) -> None:
        loop = self._stack.enter_context(simulated(seed))
        self._model = Model(loop, seed)
        self._model.do(self._model.begin())

    def happens(self, op: Op) -> None:
        assert self._model is not None
        Machine.steps_done += 1
        self._model.do(self._model.apply(op))

    def teardown(self) -> None:
        try:
            if self._model is not None:
                self._model.do(self._model.settle())
        finally:
            if self._model is not None:
                self._model.do(self._model.end())
            self._stack.close()


def _rule(name: str, limits: tuple[int, ...]) -> Any:
    def happens(self: Machine, numbers: tuple[int, ...], noise: int) -> None:
        self.happens(Op(name, numbers, noise))

    happens.__name__ = name
    numbers = st.tuples(*(st.integers(0, limit - 1) for limit in limits))
    return rule(numbers=numbers, noise=st.integers(0, NOISE))(happens)


TradingMachine = type(
    "TradingMachine",
    (Machine,),
    {
        f"{name}_{number}": _rule(name, limits)
        for name, (weight, limits) in RULES.items()
        for number in range(1 + weight // 8)
    },
)


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    """Silence the log of what killed runs leave behind."""
    before = {name: logging.getLogger(name).level for name in ("sqlalchemy", "asyncio")}
    for name in before:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")
def test_after_anything_that_happens_the_books_agree_with_the_venue() -> None:
    run_state_machine_as_test(
        TradingMachine,
        settings=settings(
            max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(HealthCheck), phases=PHASES,
        ),
    )  # fmt: skip
    assert Machine.steps_done >= 2000


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
def test_after_a_run_by_seed_the_books_agree_with_the_venue(seed: int) -> None:
    violation = run(seed, operations(seed, SEED_STEPS))
    assert violation is None, str(violation)


@pytest.mark.filterwarnings("ignore")
def test_a_seed_is_the_same_run_again() -> None:
    histories: list[list[str]] = []
    trades: list[list[Any]] = []

    def note(model: Model) -> None:
        histories.append(model.history)
        trades.append(model.venue.exchange.trades)

    for _ in range(2):
        run(5, operations(5, 60), note)
    assert histories[0] == histories[1] and trades[0] == trades[1]
