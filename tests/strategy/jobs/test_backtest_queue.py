"""Order of jobs: order within an owner, fairness between them."""

from hypothesis import given
from hypothesis import strategies as st

from services.strategy.jobs.queue import FairQueue


def served(queue: FairQueue) -> list[str]:
    popped = []
    while job := queue.pop({}):
        popped.append(job)
    return popped


def test_the_jobs_of_one_owner_are_served_in_order():
    queue = FairQueue()
    for name in "abc":
        queue.add("alice", name)
    assert [queue.position("alice", name) for name in "abc"] == [0, 1, 2]
    assert served(queue) == ["a", "b", "c"]


def test_owners_take_turns_however_many_one_has():
    queue = FairQueue()
    for index in range(5):
        queue.add("alice", f"a{index}")
    queue.add("bob", "b0")
    queue.add("carol", "c0")
    queue.add("bob", "b1")
    assert served(queue) == ["a0", "b0", "c0", "a1", "b1", "a2", "a3", "a4"]


def test_who_has_one_running_gives_way():
    queue = FairQueue()
    queue.add("alice", "a")
    queue.add("bob", "b")
    assert queue.pop({"alice": 1}) == "b"
    assert queue.pop({"alice": 1}) == "a"


def test_what_is_removed_is_not_served():
    queue = FairQueue()
    queue.add("alice", "a")
    queue.add("alice", "b")
    assert queue.remove("alice", "a")
    assert not queue.remove("alice", "a")
    assert not queue.remove("bob", "a")
    assert (queue.count("alice"), served(queue), queue.count("alice")) == (1, ["b"], 0)


@given(st.lists(st.tuples(st.sampled_from("xyz"), st.integers(0, 5))))
def test_everything_is_served_once_and_nobody_waits_for_two_turns_of_another(added):
    queue = FairQueue()
    waiting: dict[str, list[str]] = {}
    for number, (owner, _) in enumerate(added):
        queue.add(owner, f"{owner}{number}")
        waiting.setdefault(owner, []).append(f"{owner}{number}")
    last: dict[str, int] = {}
    for turn, job in enumerate(served(queue)):
        owner = job[0]
        assert waiting[owner].pop(0) == job
        others = [name for name, jobs in waiting.items() if jobs and name != owner]
        if owner in last:
            assert all(last.get(name, -1) > last[owner] for name in others)
        last[owner] = turn
    assert not any(waiting.values())


def test_a_job_that_is_put_back_waits_where_it_was():
    queue = FairQueue()
    for name in ("a1", "a2", "a3"):
        queue.add("alice", name)
    queue.add("bob", "b1")
    popped = [queue.pop({}) for _ in range(3)]
    assert popped == ["a1", "b1", "a2"]
    queue.put_back("alice", "a2")
    queue.put_back("alice", "a1")
    assert [queue.position("alice", name) for name in ("a1", "a2", "a3")] == [0, 1, 2]
    assert queue.pop({}) == "a1"
