"""Time limits: whose cancel it was, and that none is left behind."""

import asyncio
from itertools import pairwise

import pytest

from services.kernel.tasks import Tasks, TimeLimit, wait_for_event, within
from tests.simulated_time import in_simulated_time


async def limited(seconds: float, work) -> str:
    limit = TimeLimit(seconds)
    try:
        await work
        return "done"
    except asyncio.CancelledError:
        if limit.ends():
            return "too late"
        raise
    finally:
        limit.stop()


@in_simulated_time
async def test_work_within_its_limit_is_done_and_not_canceled_later():
    assert await limited(0.01, asyncio.sleep(0)) == "done"
    await asyncio.sleep(60)


async def test_work_beyond_its_limit_ends_and_the_task_goes_on():
    assert await limited(0.01, asyncio.Event().wait()) == "too late"
    assert asyncio.current_task().cancelling() == 0
    await asyncio.sleep(0)


async def test_a_cancel_from_outside_is_not_the_limits():
    task = asyncio.ensure_future(limited(10, asyncio.Event().wait()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_inner_limit_does_not_end_the_outer_ones_work():
    async def inner() -> None:
        assert await limited(0.01, asyncio.Event().wait()) == "too late"

    assert await limited(10, inner()) == "done"


async def test_an_outer_limit_ends_what_an_inner_one_allows():
    async def inner() -> None:
        await limited(10, asyncio.Event().wait())

    assert await limited(0.01, inner()) == "too late"


async def test_an_event_that_is_set_in_time_is_distinguished_from_one_that_is_not():
    event = asyncio.Event()
    assert not await wait_for_event(event, 0.01)
    asyncio.get_running_loop().call_soon(event.set)
    assert await wait_for_event(event, 10)


async def answers(value, *awaited):
    for one in awaited:
        await one
    return value


@in_simulated_time
async def test_a_coroutine_that_never_waits_has_no_timer(monkeypatch):
    monkeypatch.setattr(TimeLimit, "__init__", None)
    assert await within(answers(1), 10) == 1


@in_simulated_time
async def test_a_coroutine_that_waits_is_answered_within_its_time_and_ended_beyond_it():
    assert await within(answers(1, asyncio.sleep(1), asyncio.sleep(8)), 10) == 1
    ended = []

    async def long():
        try:
            await asyncio.sleep(5)
            await asyncio.sleep(6)
        finally:
            ended.append(asyncio.get_running_loop().time())

    began = asyncio.get_running_loop().time()
    with pytest.raises(TimeoutError):
        await within(long(), 10)
    assert ended == [began + 10]
    assert asyncio.current_task().cancelling() == 0


@in_simulated_time
async def test_what_a_coroutine_raises_and_catches_within_its_time_is_its_own():
    async def raises():
        try:
            await answers(1, asyncio.sleep(1), failing())
        except KeyError:
            await asyncio.sleep(1)
            raise ValueError from None

    async def failing():
        raise KeyError

    with pytest.raises(ValueError):
        await within(raises(), 10)


async def test_a_cancel_from_outside_is_a_cancel_also_within_a_time():
    task = asyncio.ensure_future(answers(1, within(answers(1, asyncio.Event().wait()), 10)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@in_simulated_time
async def test_what_others_wait_for_is_tried_again_as_soon_as_it_asks_however_long_it_was_away():
    now, tasks, tried = asyncio.get_running_loop().time, Tasks(), []

    async def is_away():
        tried.append(now())

    tasks.supervise("away", is_away, longest_pause_s=0.5)
    await asyncio.sleep(60)
    await tasks.stop()
    pauses = [later - earlier for earlier, later in pairwise(tried)]
    assert (min(pauses), max(pauses)) == (pytest.approx(0.05), pytest.approx(0.5))
