"""A client's stream of orders, folded into what the client believes."""

import asyncio
from typing import Any

from redfire.trading.v1 import order_service_pb2 as order_pb

from services.kernel.errors import RedFireError


class Follower:
    """The updates of a stream, across its ends and trading's."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.running = False
        self.lease_s = 0
        self.sequence: int | None = None
        self.complete = False
        self.orders: dict[str, Any] = {}
        self.positions: dict[tuple[str, str, int], Any] = {}
        self.accounts: dict[str, Any] = {}
        self.trades: dict[str, Any] = {}
        self._life = 0
        self._task: asyncio.Task[Any] | None = None

    def forget(self) -> None:
        """Begin with a snapshot next time."""
        self.sequence = None
        self.complete = False

    def stop(self) -> None:
        """End the present stream."""
        self._life += 1
        self.running = False
        if self._task is not None:
            self._task.cancel()

    async def follow(self, run: Any) -> None:
        """One stream, to its end."""
        life = self._life = self._life + 1
        self._task = asyncio.current_task()
        request = order_pb.StreamOrdersRequest()
        if self.sequence is not None and self.complete:
            request.resume_after_sequence = self.sequence
        else:
            self._clear()
        if self.lease_s:
            request.cancel_on_disconnect.FromSeconds(self.lease_s)
        stream = run.orders(self.user).StreamOrders(request)
        try:
            async for message in stream:
                if life != self._life:
                    return
                self._take(message)
        except RedFireError:
            pass
        finally:
            await stream.aclose()
            if life == self._life:
                self.running = False

    def _clear(self) -> None:
        self.complete = False
        self.orders.clear()
        self.positions.clear()
        self.accounts.clear()

    def _take(self, message: Any) -> None:
        kind = message.WhichOneof("event")
        if kind == "order":
            self.orders[message.order.order_id] = message.order
        elif kind == "position":
            position = message.position
            self.positions[position.account_id, position.symbol, position.side] = position
        elif kind == "account":
            self.accounts[message.account.account_id] = message.account
        elif kind == "trade":
            self.trades[message.trade.trade_id] = message.trade
        elif kind == "gap":
            self._clear()
        elif kind == "snapshot_complete":
            self.complete = True
        if message.sequence and kind != "end":
            self.sequence = message.sequence
