"""A tighter value counts at once and stays; a looser one counts when it is written, or not at all."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.risk.state import setting_store
from services.risk.state.setting_store import NotDurable, SettingStore
from tests.examples import examples
from tests.waiting import until


class Written:
    """A database of numbers, the greater the stricter, that fails as often as the test asks."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.in_force = 0
        self.failures = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.store: SettingStore[str, int] = SettingStore(0, self.write, self.changed)

    async def write(self, key: str, value: int) -> None:
        await self.gate.wait()
        if self.failures:
            self.failures -= 1
            raise OSError("the disk is full")
        self.values[key] = value

    def changed(self, key: str, values: Any) -> None:
        self.in_force = max(values)

    async def set(self, value: int) -> None:
        await self.store.change("a", lambda _: value, loosens=value < self.store.latest("a"))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setting_store, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(setting_store, "LONGEST_PAUSE_S", 0.01)
    monkeypatch.setattr(setting_store, "WAIT_S", 0.05)


async def test_what_tightens_counts_before_it_is_written_and_when_it_cannot_be() -> None:
    db = Written()
    running = asyncio.create_task(db.store.run())
    db.failures = 3
    with pytest.raises(NotDurable) as refused:
        await db.set(2)
    assert refused.value.metadata == {"in_force": "true"}
    assert db.in_force == 2
    await until(lambda: db.values == {"a": 2})
    running.cancel()


async def test_what_cannot_be_written_is_not_loosened() -> None:
    db = Written()
    running = asyncio.create_task(db.store.run())
    await db.set(2)
    db.failures = 1
    with pytest.raises(NotDurable) as refused:
        await db.set(1)
    assert refused.value.metadata == {"in_force": "false"}
    assert (db.in_force, db.store.latest("a")) == (2, 2)
    # Whether the failed write took hold nobody knows: so it is written once more as it is.
    db.values["a"] = 1
    await until(lambda: db.values == {"a": 2})
    running.cancel()


async def test_tightening_during_a_slow_loosening_counts_at_once_and_is_the_last_word() -> None:
    db = Written()
    running = asyncio.create_task(db.store.run())
    await db.set(2)
    db.gate.clear()
    loosening = asyncio.create_task(db.set(0))
    await until(lambda: db.store.latest("a") == 0)
    assert db.in_force == 2, "not written yet"
    tightening = asyncio.create_task(db.set(3))
    await until(lambda: db.in_force == 3)
    db.gate.set()
    await asyncio.gather(loosening, tightening)
    assert (db.in_force, db.values) == (3, {"a": 3})
    running.cancel()


async def test_a_slow_database_does_not_keep_the_caller_waiting_for_the_truth() -> None:
    db = Written()
    running = asyncio.create_task(db.store.run())
    db.gate.clear()
    with pytest.raises(NotDurable, match="in force"):
        await db.set(2)
    db.gate.set()
    await until(lambda: db.values == {"a": 2} and db.store.is_written("a"))
    running.cancel()


STEPS = st.lists(
    st.tuples(st.just("set"), st.integers(0, 3))
    | st.tuples(st.just("fail"), st.integers(1, 3))
    | st.tuples(st.just("flush"), st.just(0))
    | st.tuples(st.just("leave"), st.just(0)),
    max_size=25,
)


@settings(max_examples=examples(200), deadline=None)
@given(steps=STEPS)
def test_never_is_less_in_force_than_what_is_written_or_was_tightened(steps: list[tuple[str, int]]) -> None:
    async def play() -> None:
        db, asked, callers = Written(), [0], []
        for kind, number in steps:
            if kind == "set":
                asked.append(number)
                callers.append(asyncio.create_task(db.set(number)))
                before = db.in_force
                await asyncio.sleep(0)
                assert db.in_force >= max(number, before), "nothing loosens before it is written"
            elif kind == "fail":
                db.failures += number
            elif kind == "leave" and callers:
                callers[-1].cancel()
                await asyncio.sleep(0)
            else:
                await db.store.flush()
            assert db.in_force >= db.values.get("a", 0)
            assert db.in_force in asked
        db.failures = 0
        await db.store.flush()
        await asyncio.gather(*callers, return_exceptions=True)
        assert db.in_force == db.store.latest("a") == db.values.get("a", 0)

    asyncio.run(play())
