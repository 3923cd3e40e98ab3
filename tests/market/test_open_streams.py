"""Admission of streams by the clock of the test."""

from services.market.ticks.open_streams import LONGEST_S, Admission


def test_so_many_are_let_in_at_once_and_the_others_as_there_is_room() -> None:
    admission = Admission()
    waits = [admission.wait_s(0.0, 10) for _ in range(120)]
    refused = waits[20:]
    assert waits[:20] == [0.0] * 20 and all(refused)
    assert refused[-1] > 5 and len(set(refused)) == 100
    # Those who come when they were told to are let in.
    for after in sorted(refused):
        assert admission.wait_s(after, 10 / 0.9) == 0.0


def test_nobody_is_sent_away_for_long() -> None:
    admission = Admission()
    waits = [admission.wait_s(0.0, 1) for _ in range(10_000)]
    assert max(waits) <= 1.1 * LONGEST_S


def test_while_streams_get_theirs_late_no_more_are_let_in() -> None:
    admission = Admission()
    waits = [admission.wait_s(number / 10, 10, late=True) for number in range(100)]
    assert all(waits) and waits[50] > waits[0] + 5
    assert not admission.wait_s(10.0, 10)
