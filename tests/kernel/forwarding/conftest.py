"""Two replicas of trading on two servers, each the owner of half of the shards."""

import contextlib

import pytest

from tests.harness import FakeService, TokenMint, platform
from tests.kernel.forwarding.trading_replicas import Orders, Replica, Table, TableOwnership, own


@pytest.fixture
async def replicas():
    """The two, by number: the first owns the even shards, the second the others."""
    table, mint, made = Table(), TokenMint(), []
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(2):
            orders, kept = Orders(), {}

            def servicers(context, orders=orders, kept=kept):
                kept["shards"] = TableOwnership(lambda: context.address_of("trading"), table)
                context._resources.handlers.forwarding.share("trading", kept["shards"])
                return [orders]

            fake = FakeService(servicers)
            running = await stack.enter_async_context(platform(fakes={"trading": fake}, mint=mint))
            made.append(Replica(running, orders, kept["shards"]))
        own(table, made)
        yield made
