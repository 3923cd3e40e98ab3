"""vnpy's event engine: what is processed in place, what is queued, and that nothing is lost."""

import asyncio
import threading

import pytest
from vnpy.event import EVENT_TIMER, Event
from vnpy.trader.event import EVENT_CONTRACT, EVENT_TICK

from services.engine.vnpy.engine import VnpyEngine
from tests.waiting import until


@pytest.fixture
async def bridge():
    """(engine, ticks that reached the loop, contracts that did)."""
    ticks: list[str] = []
    others: list[str] = []
    engine = VnpyEngine(asyncio.get_running_loop())
    engine.on_ticks(ticks.extend)
    engine.on_event(lambda kind, data: others.append(data))
    for kind in (EVENT_TICK, EVENT_CONTRACT):
        engine.events._handlers[kind] = [engine._arrive]
        engine.events._quick[kind] = [engine._arrive]
    engine.events._look_again()
    yield engine, ticks, others
    await asyncio.to_thread(engine.close)


async def test_what_the_loop_puts_arrives_in_the_same_round(bridge):
    engine, ticks, _ = bridge
    engine.events.put(Event(EVENT_TICK, "a"))
    engine.events.put(Event(EVENT_TICK, "b"))
    await asyncio.sleep(0)
    assert ticks == ["a", "b"]


async def test_a_silenced_object_is_called_no_more(bridge):
    engine, *_ = bridge

    class Gateway:
        calls = 0

        def on_event(self, event):
            self.calls += 1

    closed, other = Gateway(), Gateway()
    for gateway in (closed, other):
        engine.events.register("eTest", gateway.on_event)
    engine.events.silence(closed)
    engine.events.put(Event("eTest"))
    await until(lambda: other.calls == 1, 5)
    assert closed.calls == 0


async def test_what_a_gateways_thread_puts_arrives_too(bridge):
    engine, ticks, _ = bridge
    await asyncio.to_thread(lambda: [engine.events.put(Event(EVENT_TICK, number)) for number in range(100)])
    await until(lambda: len(ticks) == 100, 5)
    assert ticks == list(range(100))


async def test_a_gateways_tick_waits_for_no_other_event_and_what_is_sent_behind_it_stays_behind_it(bridge):
    engine, ticks, _ = bridge
    gate, order = threading.Event(), []
    engine.events.register("eTest", lambda event: gate.wait(30))
    try:
        await asyncio.to_thread(lambda: [engine.events.put(Event(kind, "a")) for kind in ("eTest", EVENT_TICK)])
        engine.after_ticks(lambda: order.append(list(ticks)))
        await until(lambda: order == [["a"]], 5)
        engine.events.register(EVENT_TICK, lambda event: None)  # ticks are queued from now on
        await asyncio.to_thread(engine.events.put, Event(EVENT_TICK, "b"))
        engine.after_ticks(lambda: order.append(list(ticks)))
        gate.set()
        await until(lambda: order == [["a"], ["a", "b"]], 5)
    finally:
        gate.set()


async def test_thousands_of_contracts_sent_at_once_leave_the_loop_to_others_in_between(bridge):
    engine, ticks, contracts = bridge
    for number in range(5_000):
        engine.events.put(Event(EVENT_CONTRACT, number))
        if number % 1_000 == 0:
            engine.events.put(Event(EVENT_TICK, number))
    longest = 0
    while len(contracts) < 5_000:
        before = len(contracts)
        await asyncio.sleep(0)
        longest = max(longest, len(contracts) - before)
    assert longest <= 200
    assert contracts == list(range(5_000))
    assert ticks == list(range(0, 5_000, 1_000))


async def test_a_handler_that_came_later_runs_on_vnpys_thread_and_never_on_the_loop(bridge):
    engine, ticks, _ = bridge
    seen: list[bool] = []

    def slow(event: Event) -> None:
        try:
            asyncio.get_running_loop()
            seen.append(True)
        except RuntimeError:
            seen.append(False)

    engine.events.register(EVENT_TICK, slow)
    engine.events.put(Event(EVENT_TICK, "a"))
    await until(lambda: len(ticks) == 1, 5)
    await until(lambda: seen == [False], 5)


async def test_a_handler_of_the_timer_that_hangs_costs_the_others_no_turn(bridge):
    """Gateways ask their venues for accounts and positions at these events."""
    engine, *_ = bridge
    gate, calls = threading.Event(), []

    def hangs(event: Event) -> None:
        calls.append("hangs")
        gate.wait(30)

    engine.events._interval = 0.05
    engine.events.register(EVENT_TIMER, hangs)
    engine.events.register(EVENT_TIMER, lambda event: calls.append("other"))
    try:
        await until(lambda: calls.count("other") >= 3, 5)
        assert calls.count("hangs") == 1
        gate.set()
        await until(lambda: calls.count("hangs") >= 2, 5)
    finally:
        gate.set()
