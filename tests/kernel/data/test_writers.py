"""Contract of both writers: the order of commits, the submissions that fail with one, and what an end leaves."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from services.kernel.data import writes
from services.kernel.data.writes import WriteSequence
from services.kernel.errors import Duplicate, Unavailable
from tests.kernel.data.cups import (
    DELETE,
    SIP,
    UPDATE,
    Base,
    Cup,
    Sip,
    cup,
    levels,
    order,
    orders,
    outcomes,
    put,
)  # fmt: skip
from tests.postgres import opened


@pytest.fixture
async def database(database_url):
    async with opened(database_url, Base) as cup_database:
        yield cup_database


def bound(monkeypatch, waiting):
    monkeypatch.setattr(writes, "MAX_WAITING", waiting)


async def test_what_was_submitted_later_is_answered_and_wins_later(database):
    writer, answered = database.writer(), []
    waiting = []
    for number in range(2000):
        future = writer.submit([put(f"cup{number % 7}", number)])
        future.add_done_callback(lambda _, number=number: answered.append(number))
        waiting.append(future)
        if number % 100 == 0:
            await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert answered == list(range(2000))
    assert await levels(database) == {f"cup{n % 7}": n for n in range(1993, 2000)}


async def test_an_answer_follows_the_commit(database):
    await database.writer().submit([cup("a"), (SIP, {"number": 1, "cup": "a"})])
    async with database.repositories(lambda session: session).read() as session:
        assert await session.scalar(select(func.count()).select_from(Cup).join(Sip)) == 1


async def test_the_rows_of_one_submission_are_there_together_or_not_at_all(database):
    writer = database.writer()
    results = await outcomes(
        writer.submit([cup("a"), cup("b")]),
        writer.submit([cup("c"), cup("c")]),
        writer.submit([cup("d"), (SIP, {"number": 1, "cup": "none"})]),
        writer.submit([cup("e")]),
    )
    assert results == ["done", "Duplicate", "RowRefused", "done"]
    assert set(await levels(database)) == {"a", "b", "e"}


@pytest.mark.parametrize("place", [0, 100, 199])
async def test_one_failing_member_of_a_large_group_fails_alone(database, place):
    await database.writer().submit([cup("taken")])
    names = [f"cup{number}" for number in range(200)]
    names[place] = "taken"
    results = await outcomes(*(database.writer().submit([cup(name)]) for name in names))
    assert [number for number, outcome in enumerate(results) if outcome != "done"] == [place]
    assert set(await levels(database)) == set(names)


async def test_what_builds_on_a_failed_write_fails_until_its_sequence_is_mended(database):
    writer, sequence, other = database.writer(), WriteSequence(), WriteSequence()
    results = await outcomes(
        writer.submit([cup("a")], sequence),
        writer.submit([cup("b", None)], sequence),
        writer.submit([cup("c")], sequence),
        writer.submit([cup("d")], other),
        writer.submit([cup("e")]),
    )
    assert results == ["done", "RowRefused", "Unavailable", "done", "done"]
    assert (sequence.broken, other.broken) == (True, False)
    assert await outcomes(writer.submit([cup("f")], sequence)) == ["Unavailable"]
    sequence.broken = False
    assert await outcomes(writer.submit([cup("g")], sequence)) == ["done"]
    assert set(await levels(database)) == {"a", "d", "e", "g"}


async def test_a_refused_submission_breaks_no_sequence(database):
    writer, sequence = database.writer(), WriteSequence()
    results = await outcomes(
        writer.submit([cup("a")], sequence, refusable=True),
        writer.submit([cup("a")], sequence, refusable=True),
        writer.submit([cup("b")], sequence),
    )
    assert results == ["done", "Duplicate", "done"]
    assert not sequence.broken
    assert set(await levels(database)) == {"a", "b"}


async def test_a_refusable_submission_that_fails_otherwise_breaks_its_sequence(database):
    writer, sequence = database.writer(), WriteSequence()
    results = await outcomes(
        writer.submit([cup("a", None)], sequence, refusable=True),
        writer.submit([cup("b")], sequence),
    )
    assert results == ["RowRefused", "Unavailable"]
    assert sequence.broken
    assert await levels(database) == {}


async def test_a_refusal_depends_on_what_was_committed_before_in_the_same_group(database):
    writer = database.writer()
    results = await outcomes(
        writer.submit([cup("a", 5)], refusable=True),
        writer.submit([(UPDATE, {"name": "a", "level": 4})]),
        writer.submit([cup("a", 9)]),
    )
    assert results == ["done", "done", "Duplicate"]
    assert await levels(database) == {"a": 4}


async def test_no_more_waits_than_the_bound(database, monkeypatch):
    bound(monkeypatch, 5)
    writer, names, refused = database.writer(), [], 0
    waiting = []
    # Nothing is awaited in between: what the thread has not taken by then waits.
    for number in range(2000):
        try:
            waiting.append(writer.submit([cup(f"cup{number}")]))
            names.append(f"cup{number}")
        except Unavailable:
            refused += 1
    assert refused
    await asyncio.gather(*waiting)
    assert set(await levels(database)) == set(names)


async def test_a_stop_commits_what_waits_in_order_and_takes_nothing_more(database_url):
    async with opened(database_url, Base) as database:
        writer, sequence = database.writer(), WriteSequence()
        waiting = [writer.submit([put("a", number)], sequence) for number in range(1500)]
        closing = asyncio.ensure_future(writer.close())
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            writer.submit([cup("late")])
        await closing
        assert await outcomes(*waiting) == ["done"] * 1500
        assert await levels(database) == {"a": 1499}


async def test_a_caller_that_left_does_not_take_its_write_along(database):
    left = database.writer().submit([cup("a")])
    left.cancel()
    await database.writer().submit([cup("b")])
    assert set(await levels(database)) == {"a", "b"}
    with pytest.raises(Duplicate):
        await database.writer().submit([cup("a")])


async def test_a_group_of_many_rows_is_written_whole_and_in_order(database):
    writer = database.writer()
    first = [writer.submit([cup(f"cup-{number}", number)]) for number in range(150)]
    again = [writer.submit([put(f"cup-{number % 20}", number)]) for number in range(1000, 1150)]
    await asyncio.gather(*first, *again)
    stored = await levels(database)
    assert len(stored) == 150
    assert [stored[f"cup-{number}"] for number in range(20)] == [*range(1140, 1150), *range(1130, 1140)]
    assert stored["cup-149"] == 149


async def test_a_sequence_is_never_refused_for_lack_of_room(database, monkeypatch):
    bound(monkeypatch, 5)
    writer, sequence = database.writer(), WriteSequence()
    await asyncio.gather(*(writer.submit([cup(f"cup{number}")], sequence) for number in range(2000)))
    assert len(await levels(database)) == 2000 and not sequence.broken


async def test_a_new_order_whose_key_is_taken_is_refused_alone_with_all_that_was_written_with_it(database):
    writer, sequence = database.writer(), WriteSequence()
    await writer.submit([order("1", "x")])
    results = await outcomes(
        writer.submit([order("2", "x"), put("two", 1)], sequence, refusable=True),
        writer.submit([order("3", "y"), put("three", 1)], sequence, refusable=True),
        # Within the same group, too.
        writer.submit([order("4", "y"), put("four", 1)], sequence, refusable=True),
        writer.submit([put("five", 1)], sequence),
    )
    assert results == ["Duplicate", "done", "Duplicate", "done"]
    assert not sequence.broken
    assert await orders(database) == {"1": ("x", "NEW"), "3": ("y", "NEW")}
    assert set(await levels(database)) == {"three", "five"}


async def test_of_several_new_orders_in_one_submission_all_are_taken_or_none(database):
    writer = database.writer()
    await writer.submit([order("1", "x")])
    results = await outcomes(
        writer.submit([order("2", "y"), order("3", "x")], refusable=True),
        writer.submit([order("4", "z"), order("5", "v")], refusable=True),
    )
    assert results == ["Duplicate", "done"]
    assert set(await orders(database)) == {"1", "4", "5"}


async def test_an_order_that_changes_in_the_group_in_which_it_is_new_has_its_last_state(database):
    writer = database.writer()
    results = await outcomes(
        writer.submit([order("1", "x", "NEW")], refusable=True),
        writer.submit([order("1", "x", "OPEN")]),
        # What is fixed stays as it was when the row was new.
        writer.submit([order("1", "other", "FILLED")]),
    )
    assert results == ["done"] * 3
    assert await orders(database) == {"1": ("x", "FILLED")}


async def test_rows_that_are_changed_and_deleted_in_one_submission_follow_its_order(database):
    writer = database.writer()
    await writer.submit([cup("a"), cup("b")])
    gone, back = {"name": "a"}, put("a", 7)
    await writer.submit([(UPDATE, {"name": "b", "level": 5}), (DELETE, gone)])
    assert await levels(database) == {"b": 5}
    await writer.submit([back])
    await asyncio.gather(writer.submit([(DELETE, gone)]), writer.submit([(DELETE, {"name": "none"})]))
    assert await levels(database) == {"b": 5}


async def test_a_submission_without_rows_is_done_in_its_turn(database):
    writer, sequence = database.writer(), WriteSequence()
    assert await outcomes(writer.submit([], sequence)) == ["done"]
    results = await outcomes(
        writer.submit([cup("a", None)], sequence), writer.submit([], sequence), writer.submit([put("b", 1)])
    )
    assert results == ["RowRefused", "Unavailable", "done"]
    assert await outcomes(writer.submit([]), writer.submit([cup("c")])) == ["done", "done"]
    assert set(await levels(database)) == {"b", "c"}


async def test_an_update_of_a_row_that_is_not_there_does_nothing(database):
    await database.writer().submit([(UPDATE, {"name": "none", "level": 5})])
    assert await levels(database) == {}


async def test_a_text_that_is_too_long_is_refused_and_never_cut(database):
    outcome = (await outcomes(database.writer().submit([order("1", "k" * 37)])))[0]
    # SQLite has no lengths.
    assert (outcome, await orders(database)) in (("done", {"1": ("k" * 37, "NEW")}), ("RowRefused", {}))


STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "update", "delete", "order", "change"]), st.integers(0, 3), st.integers(0, 3)),
    max_size=30,
)


@pytest.mark.slow
async def test_whatever_is_submitted_has_the_outcomes_and_leaves_the_rows_of_one_after_the_other(database):
    """A group is as if each of its submissions had been a transaction of its own."""
    runs = []

    @given(st.lists(STEPS, min_size=1, max_size=6))
    def generate(groups):
        runs.append(groups)

    generate()
    for number, groups in enumerate(runs):
        writer, expected_cups, expected_orders, taken = database.writer(), {}, {}, {}
        for steps in groups:
            futures, expected = [], []
            for kind, key, value in steps:
                name, order_id, client_key = f"{number}-{key}", f"{number}-{key}-{value}", f"k{key}"
                if kind == "put":
                    expected_cups[name] = value
                    futures.append(writer.submit([put(name, value)]))
                elif kind == "update":
                    if name in expected_cups:
                        expected_cups[name] = value
                    futures.append(writer.submit([(UPDATE, {"name": name, "level": value})]))
                elif kind == "delete":
                    expected_cups.pop(name, None)
                    futures.append(writer.submit([(DELETE, {"name": name})]))
                elif kind == "order":
                    if order_id in expected_orders:
                        continue
                    is_new = client_key not in taken
                    if is_new:
                        taken[client_key] = order_id
                        expected_orders[order_id] = (client_key, "NEW")
                        expected_cups[f"{number}-o{value}"] = key
                    new = order(order_id, client_key, client=str(number))
                    futures.append(writer.submit([new, put(f"{number}-o{value}", key)], refusable=True))
                    expected.append("done" if is_new else "Duplicate")
                    continue
                elif order_id in expected_orders:
                    expected_orders[order_id] = (client_key, str(value))
                    futures.append(writer.submit([order(order_id, client_key, str(value), client=str(number))]))
                else:
                    continue
                expected.append("done")
            assert await outcomes(*futures) == expected, steps
        prefix = f"{number}-"
        assert {k: v for k, v in (await levels(database)).items() if k.startswith(prefix)} == expected_cups, groups
        assert {k: v for k, v in (await orders(database)).items() if k.startswith(prefix)} == expected_orders, groups
