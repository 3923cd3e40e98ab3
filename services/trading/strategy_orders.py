"""Orders of strategies: given in a strategy's own name alone, and changed with its token alone where a strategy calls.

Trading asks nobody for that: whose name it is the token says, which auth made for one strategy and one account. Other
callers name programs of theirs as they like, but not in the form of the platform's names.
"""

import re
from dataclasses import replace

from services.kernel.errors import Denied, NotFound
from services.kernel.identity.identity import Identity
from services.trading.domain.order import NewOrder
from services.trading.state.store import TradingStore

_PLATFORMS_NAME = re.compile(r"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", re.IGNORECASE)


class ForeignStrategy(Denied):
    """Only a strategy gives orders in its name, and it changes no others."""


def in_own_name(caller: Identity, order: NewOrder) -> NewOrder:
    """The order with the strategy whose token it came by. Raises ForeignStrategy where it names another one."""
    own, named = caller.strategy_id, order.strategy_id
    if named == own:
        return order
    if named and (own or _PLATFORMS_NAME.search(named)):
        raise ForeignStrategy("strategy_id: only the strategy itself gives orders in its name", field="strategy_id")
    return replace(order, strategy_id=own) if own else order


class StrategyOrders:
    """Rules of the orders that a strategy may see and change."""

    def __init__(self, store: TradingStore) -> None:
        self._store = store

    async def require_visible(self, caller: Identity, order_id: str) -> None:
        """Let a strategy see the orders of its account. Raises NotFound."""
        if caller.account_id:
            await self._strategy_of(caller, order_id)

    async def require_own(self, caller: Identity, order_id: str) -> None:
        """Let a strategy change its own orders. Raises NotFound for another account's, ForeignStrategy."""
        if caller.account_id and await self._strategy_of(caller, order_id) != caller.strategy_id:
            raise ForeignStrategy

    async def _strategy_of(self, caller: Identity, order_id: str) -> str:
        self._store.require_open(caller.user_id)
        order = await self._store.get_order(caller.user_id, order_id)
        if order.account_id != caller.account_id:
            raise NotFound("order", order_id)
        return order.strategy_id
