"""The thread of a gateway's calls: what goes first, what is refused, and what becomes of a thread that hangs."""

import asyncio
import threading

import pytest

from services.engine.vnpy import gateway_thread
from services.engine.vnpy.gateway_thread import GatewayThread, NotMade, Urgency
from services.kernel.errors import ResourceExhausted
from tests.waiting import until


@pytest.fixture
def gate():
    made = threading.Event()
    yield made
    made.set()


async def began(call):
    await until(lambda: call.begun)


async def test_cancels_go_before_orders_and_orders_before_anything_else(gate):
    thread, made = GatewayThread("G"), []
    first = thread.call(Urgency.ORDER, gate.wait)
    await began(first)
    calls = [
        thread.call(urgency, lambda name=name: made.append(name))
        for name, urgency in (("ticks", Urgency.OTHER), ("order", Urgency.ORDER), ("cancel", Urgency.CANCEL))
    ]
    gate.set()
    await asyncio.gather(*(call.future for call in calls))
    assert made == ["cancel", "order", "ticks"]


async def test_too_many_orders_are_refused_and_cancels_never(gate, monkeypatch):
    monkeypatch.setattr(gateway_thread, "MAX_WAITING", 2)
    thread = GatewayThread("G")
    await began(thread.call(Urgency.ORDER, gate.wait))
    waiting = [thread.call(Urgency.ORDER, int) for _ in range(2)]
    with pytest.raises(ResourceExhausted):
        thread.call(Urgency.ORDER, int)
    cancel = thread.call(Urgency.CANCEL, int)
    gate.set()
    assert await asyncio.gather(cancel.future, *(call.future for call in waiting)) == [0, 0, 0]


async def test_what_has_not_begun_can_be_taken_back_and_what_has_cannot(gate):
    thread = GatewayThread("G")
    running = thread.call(Urgency.ORDER, gate.wait)
    await began(running)
    waiting = thread.call(Urgency.ORDER, int)
    assert thread.withdraw(waiting) and not thread.withdraw(running) and not thread.withdraw(waiting)
    with pytest.raises(NotMade):
        await waiting.future
    gate.set()
    assert await running.future is True


async def test_a_thread_that_hangs_is_given_up_with_its_gateway(gate):
    thread = GatewayThread("G")
    hanging = thread.call(Urgency.ORDER, gate.wait)
    await began(hanging)
    waiting = thread.call(Urgency.ORDER, int)
    thread.renew()
    with pytest.raises(NotMade):
        await waiting.future
    assert await thread.call(Urgency.ORDER, lambda: "made").future == "made"
    gate.set()
    assert await hanging.future is True


async def test_a_gateways_exception_reaches_its_caller_and_the_next_call_is_made():
    thread = GatewayThread("G")

    def fail():
        raise KeyError("rb2701")

    with pytest.raises(KeyError):
        await thread.call(Urgency.ORDER, fail).future
    assert await thread.call(Urgency.ORDER, lambda: 1).future == 1
