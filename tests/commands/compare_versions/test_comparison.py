"""Differences of two answers, and which of them count."""

import pytest

from services.commands.compare_versions.comparison import ATTEMPTS, compare
from services.commands.compare_versions.differences import differences
from services.commands.compare_versions.requests import Request, match
from services.commands.compare_versions.version import Answer

PATH = "/api/market/ticks/rb2705.SHFE"


class Answering:
    """A version with these answers, of which the last is repeated."""

    address = "here"

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = 0

    async def ask(self, request):
        fields = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return fields if isinstance(fields, Answer) else Answer("OK", fields, 1.0)


async def compared(old, new):
    rpc, _, fields = match("get", PATH)
    assert rpc.policy.name == "GetTick" and fields == {"symbol": "rb2705.SHFE"}
    result = await compare(old, new, [Request("get", PATH, rpc, fields)], ["requestId"])
    lasting = [(one.field, one.old, one.new) for _, one in result.differing]
    return lasting, [field for _, field in result.moving]


async def test_what_differs_each_time_counts_and_is_asked_for_again():
    old, new = Answering({"a": 1, "b": 2}), Answering({"a": 1, "b": 3})
    assert await compared(old, new) == ([("b", 2, 3)], [])
    assert old.asked == new.asked == ATTEMPTS


async def test_what_happened_between_two_answers_does_not_count():
    old, new = Answering({"a": 1}, {"a": 2}), Answering({"a": 2})
    assert await compared(old, new) == ([], [])


async def test_what_changes_from_answer_to_answer_is_told_apart_from_what_is_another():
    old = Answering(*({"last": number, "tick": "1"} for number in range(9)))
    new = Answering(*({"last": number + 0.5, "tick": "2"} for number in range(9)))
    assert await compared(old, new) == ([("tick", "1", "2")], ["last"])


async def test_another_status_is_the_difference():
    old, new = Answering({"tick": {}}), Answering(Answer("NOT_FOUND", {"code": 5}, 1.0))
    assert await compared(old, new) == ([("status", "OK", "NOT_FOUND")], [])


@pytest.mark.parametrize(
    ("old", "new", "fields"),
    [
        ({"a": {"b": [1, {"c": 2}]}}, {"a": {"b": [1, {"c": 3}]}}, ["a.b[1].c"]),
        ({"a": [1, 2]}, {"a": [1]}, ["a.length"]),
        ({"a": 1}, {"b": 1}, ["a", "b"]),
        ({"a": 1}, {"a": True}, ["a"]),
        ({"a": None}, {}, ["a"]),
        ({"a": [{"time": 1, "x": 1}]}, {"a": [{"time": 2, "x": 1}]}, []),
        ({"a": [{"d": 1}], "d": 1}, {"a": [{"d": 2}], "d": 2}, ["d"]),
    ],
)
def test_fields_are_named_by_their_path(old, new, fields):
    assert [one.field for one in differences(old, new, ["time", "a.d"])] == fields
