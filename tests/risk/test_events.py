"""Events of limits and trading states, as others hear them."""

import pytest
from redfire.risk.v1 import risk_pb2 as pb

from tests.heard_events import HeardEvents
from tests.risk.conftest import HALTED, World
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("both_databases")


async def test_limits_and_states_are_published_as_they_are_now(world: World) -> None:
    heard = HeardEvents(world.platform)
    await world.limit(world.admin, max_open_orders=7)
    await world.limit(max_order_quantity="5")
    await until(lambda: heard.keys == ["risk.limits_changed"] * 2)
    limits = heard.of("risk.limits_changed")[1]
    assert (limits.account_id, limits.user_id) == (world.account_id, world.alice.user_id)
    assert (dict(limits.granted), dict(limits.own)) == ({"max_open_orders": "7"}, {"max_order_quantity": "5"})
    await world.risk.SetTradingState(pb.SetTradingStateRequest(state=HALTED, reason="enough"))
    await until(lambda: heard.of("risk.trading_state_changed"))
    (state,) = heard.of("risk.trading_state_changed")
    assert (state.account_id, state.state, state.reason) == (world.account_id, "TRADING_STATE_HALTED", "enough")
    assert state.user_id == state.updated_by == world.alice.user_id
