"""Shards of users, and their ownership by the only process."""

from collections import Counter

import pytest
from redfire.reasons import Reason

from services.kernel.data.writes import Fence
from services.kernel.errors import ShardMoved, Unavailable
from services.kernel.identifiers import new_id
from services.kernel.shards.ownership import ALL_SHARDS, SHARDS, SoleOwnership, shard_of
from tests.harness import FakeService, platform


def test_a_users_shard_never_changes():
    """Databases keep it: another function would need their migration."""
    users = ["", "alice", "0197c1f2-8d4e-7abc-9def-0123456789ab", "用户"]
    assert [shard_of(user) for user in users] == [52, 9, 14, 30]


def test_users_are_spread_evenly():
    counts = Counter(shard_of(new_id()) for _ in range(SHARDS * 1000))
    assert set(counts) == set(ALL_SHARDS)
    assert max(counts.values()) < 1.25 * 1000 and min(counts.values()) > 0.75 * 1000


async def test_the_only_process_owns_all_once_they_are_loaded():
    ownership, during = SoleOwnership(lambda: "here:1"), []

    async def load(shards):
        during.append((dict(shards), ownership.owns(3), ownership.owner(3)))

    ownership.on_acquired(load)
    with pytest.raises(ShardMoved):
        ownership.fence("alice")
    await ownership.start()
    assert during == [(dict.fromkeys(ALL_SHARDS, 1), None, None)]
    assert (ownership.owns(3), ownership.owner(3), len(ownership.owned())) == (1, "here:1", SHARDS)
    assert ownership.fence("alice") == Fence(shard_of("alice"), 1)


async def test_what_cannot_be_loaded_is_not_owned():
    ownership = SoleOwnership(lambda: "here:1")

    async def load(_):
        raise Unavailable

    ownership.on_acquired(load)
    with pytest.raises(Unavailable):
        await ownership.start()
    assert ownership.owns(3) is None and not ownership.owned()


def test_who_meets_a_moved_shard_is_told_to_try_again():
    error = ShardMoved()
    assert (error.reason, error.retry_after_s) == (Reason.SHARD_MOVED, 0.2)


async def test_a_process_takes_its_shards_after_the_start_hooks():
    """And one service sees the shards of another in its process."""
    order, seen = [], []

    def servicers(context):
        shards = context.shards()
        seen.extend([shards, context.shards("config")])

        async def load(epochs):
            order.append(len(epochs))

        async def start():
            order.append("start")

        shards.on_acquired(load)
        context.on_start(start)
        return []

    async with platform(fakes={"risk": FakeService(servicers)}) as p:
        assert order == ["start", SHARDS]
        assert seen[0].owner(0) == p.host.address
        assert seen[0] is not seen[1] and seen[1].owns(0) == 1
