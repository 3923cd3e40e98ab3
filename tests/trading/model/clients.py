"""Requests of clients, and administrators, to trading."""

import asyncio
import contextlib
from decimal import Decimal as D
from typing import Any

from redfire.common.v1 import common_pb2 as common
from redfire.common.v1.error_reason_pb2 import ErrorReason
from redfire.trading.v1 import account_service_pb2 as account_pb
from redfire.trading.v1 import order_service_pb2 as order_pb
from redfire.trading.v1 import reconciliation_service_pb2 as reconciliation_pb

from services.kernel.errors import DeadlineExceeded, Internal, RedFireError, Unavailable
from tests.trading.model.base import LATELY, USERS, Base, Intent
from tests.trading.model.exchange import LISTINGS, SYMBOLS, VenueOrder


class Clients(Base):
    """Operations of users."""

    async def create(self, a: int, b: int, c: int, d: int) -> None:
        """An order of some kind."""
        user, gateway, account_id = self.account(a)
        symbols = [symbol for symbol in SYMBOLS if LISTINGS[symbol].gateway == gateway]
        symbol = symbols[b % len(symbols)]
        coid = f"c-{len(self.intents)}"
        request = self._order_request(coid, account_id, symbol, b, c, d)
        intent = Intent(user, account_id, coid, request, False, D(request.quantity))
        self.intents[coid] = intent
        self.client(self._create(intent), d)

    def _order_request(self, coid: str, account_id: str, symbol: str, b: int, c: int, d: int) -> Any:
        price, tick = self.venue.market.prices[symbol], int(LISTINGS[symbol].price_tick)
        side = 1 + b // 2 % 2
        kind = ("LIMIT", "LIMIT", "LIMIT", "MARKET", "STOP", "STOP_LIMIT", "TRAILING_STOP")[c % 7]
        force = ("DAY", "GTC", "DAY", "IOC", "FOK", "GTD", "GTC")[c // 7 % 7]
        if kind == "MARKET" or (kind in ("STOP", "TRAILING_STOP") and force != "GTC"):
            force = "DAY"
        effect = ("OPEN", "CLOSE", "OPEN", "OPEN", "CLOSE_TODAY", "OPEN", "CLOSE_YESTERDAY", "CLOSE")[d % 8]
        away = (d // 5 % 5 - 2) * tick
        request = order_pb.CreateOrderRequest(
            client_order_id=coid, account_id=account_id, symbol=symbol, side=side,
            type=common.OrderType.Value(f"ORDER_TYPE_{kind}"), quantity=str(1 + d % 4),
            time_in_force=common.TimeInForce.Value(f"TIME_IN_FORCE_{force}"),
            position_effect=common.PositionEffect.Value(f"POSITION_EFFECT_{effect}"),
            reduce_only=effect != "OPEN" and d % 3 == 0, post_only=kind == "LIMIT" and force == "GTC" and d % 3 == 1,
        )  # fmt: skip
        if kind in ("LIMIT", "STOP_LIMIT"):
            request.price = str(price + away)
        if kind in ("STOP", "STOP_LIMIT"):
            request.stop_price = str(price + (3 * tick if side == 1 else -3 * tick))
        if kind == "TRAILING_STOP":
            request.trailing_offset = str(3 * tick)
        if force == "GTD":
            request.expire_time.FromNanoseconds(self.clock.now_ns() + (d % 3 + 1) * 20_000_000_000)
        return request

    async def again(self, a: int) -> None:
        """A client asks again for what he asked for before, perhaps in another life of trading."""
        if self.intents:
            some = list(self.intents.values())[-LATELY:]
            self.client(self._create(some[a % len(some)]), a)

    async def admin_cancels(self, a: int) -> None:
        """Risk takes an account's orders back, all or the opening ones."""
        if self.platform.run is None:
            return
        user, _, account_id = self.account(a)
        request = order_pb.CancelAccountOrdersRequest(
            user_id=user, account_id=account_id, opening_only=a % 3 > 0, reason=ErrorReason.Value("TRADING_HALTED")
        )
        self.client(self.run.of_risk().CancelAccountOrders(request))

    async def adopt(self, a: int) -> None:
        """An administrator makes an order that nobody here asked for an order of an account."""
        foreign = [o for o in self.venue.exchange.orders.values() if not o.reference and not o.adopted]
        if self.platform.run is None or not foreign:
            return
        order = foreign[a % len(foreign)]
        accounts = [name for _, gateway, name in self.accounts if gateway == order.gateway]
        self.client(self._adopt(order, account_id=accounts[a % len(accounts)]))

    async def _adopt(self, order: VenueOrder, account_id: str = "", order_id: str = "") -> None:
        admin = self.run.reconciliation()
        if (external := (await self._externals()).get(order.venue_order_id)) is not None:
            request = reconciliation_pb.AdoptExternalOrderRequest(
                external_order_id=external.external_order_id, account_id=account_id, order_id=order_id
            )
            answer = await admin.AdoptExternalOrder(request)
            order.adopted, order.account_id = answer.order.order_id, answer.order.account_id
        elif order_id and not order.is_open and not order.filled and await self._report_end(order, order_id):
            order.adopted = order_id

    async def _report_end(self, order: VenueOrder, order_id: str) -> bool:
        """Let an administrator read in the venue's own terminal what ended without a report.

        False while another leg lives there under no name of ours: that one is adopted first.
        """
        legs = [leg for leg in self.venue.exchange.orders.values() if leg.reference[:36] == order_id]
        if any(leg.is_open and not leg.owner for leg in legs):
            return False
        request = reconciliation_pb.ResolveUncertainOrderRequest(
            order_id=order_id, status=order.status, reason="seen at the venue"
        )
        await self.run.reconciliation().ResolveUncertainOrder(request)
        return True

    async def _externals(self) -> dict[str, Any]:
        request = reconciliation_pb.ListExternalOrdersRequest(page_size=1000, include_adopted=True)
        listed = await self.run.reconciliation().ListExternalOrders(request)
        return {external.venue_order_id: external for external in listed.external_orders}

    async def resolve(self) -> None:
        """An administrator resolves which orders the engine's forgotten ones are."""
        adopted = {name: one for name, one in (await self._externals()).items() if one.order_id}
        for order in self.venue.exchange.orders.values():
            if (external := adopted.get(order.venue_order_id)) is not None:
                # Also where the answer to it was lost.
                order.adopted, order.account_id = external.order_id, external.account_id
                if not order.is_open and order.status != common.ORDER_STATUS_FILLED:
                    with contextlib.suppress(RedFireError):
                        await self._report_end(order, order.adopted)
            elif order.anonymous and not order.adopted:
                with contextlib.suppress(RedFireError):
                    await self._adopt(order, order_id=order.reference[:36])

    async def _create(self, intent: Intent) -> None:
        run, group = self.run, intent.group
        asked = group.intents if group else [intent]
        try:
            if group:
                answer = await run.orders(intent.user).CreateOrderGroup(group.request)
            elif intent.close:
                answer = await run.accounts(intent.user).ClosePosition(intent.request)
            else:
                answer = await run.orders(intent.user).CreateOrder(intent.request)
        except (Unavailable, DeadlineExceeded, asyncio.CancelledError):
            for one in asked:
                one.unsure = True
            raise
        except RedFireError as refusal:
            if intent.order_id and not isinstance(refusal, Internal):
                self.errors_seen.append(f"{intent.client_order_id}: acknowledged, then refused: {refusal!r}")
            for one in asked:
                one.refused = True
            raise
        # Exits that were opened anew stand behind those that were asked for.
        answered = answer.order_group.orders[: len(asked)] if group else [answer.order]
        for one, order in zip(asked, answered, strict=True):
            self.acknowledge(one, order)
        if group:
            group.order_group_id = answer.order_group.order_group_id

    async def cancel(self, a: int) -> None:
        """A cancel."""
        if intent := self.some(a):
            self.client(
                self.run.orders(intent.user).CancelOrder(order_pb.CancelOrderRequest(order_id=intent.order_id)), a
            )

    async def replace(self, a: int, b: int, c: int) -> None:
        """Another quantity, another price, or both; of a stop another trigger."""
        intent = self.some(a)
        if intent is None or intent.close:
            return
        request = order_pb.ReplaceOrderRequest(order_id=intent.order_id)
        tick = int(LISTINGS[intent.request.symbol].price_tick)
        if b % 3 != 1:
            request.quantity = str(1 + b % 6)
            intent.most = max(intent.most, D(request.quantity))
        if b % 3 != 0 and intent.request.price:
            request.price = str(int(intent.request.price) + (c % 5 - 2) * tick)
        if not request.price and not request.quantity and intent.request.stop_price:
            request.stop_price = str(int(intent.request.stop_price) + (c % 5 - 2) * tick)
        if request.quantity or request.price or request.stop_price:
            self.client(self.run.orders(intent.user).ReplaceOrder(request), c)

    async def cancel_all(self, a: int) -> None:
        """All of an account, or all of a user's in one symbol."""
        if self.platform.run is None:
            return
        user, _, account_id = self.account(a)
        request = order_pb.CancelAllOrdersRequest(account_id=account_id)
        if a % 3 == 0:
            request = order_pb.CancelAllOrdersRequest(symbol=SYMBOLS[a % len(SYMBOLS)])
        self.client(self.run.orders(user).CancelAllOrders(request), a)

    async def close(self, a: int, b: int) -> None:
        """Close a position, or a part of it."""
        user, gateway, account_id = self.account(a)
        symbols = [symbol for symbol in SYMBOLS if LISTINGS[symbol].gateway == gateway]
        coid = f"c-{len(self.intents)}"
        request = account_pb.ClosePositionRequest(
            symbol=symbols[b % len(symbols)], client_order_id=coid, account_id=account_id, side=1 + b // 2 % 2,
            quantity="" if b % 3 else str(1 + b % 2),
        )  # fmt: skip
        intent = Intent(user, account_id, coid, request, True, D(0))
        self.intents[coid] = intent
        self.client(self._create(intent), b)

    async def follow_anew(self, a: int) -> None:
        """A client's stream ends, and resumes or begins anew."""
        follower = self.followers[USERS[a % len(USERS)]]
        if a % 3 == 0:
            follower.forget()
        follower.lease_s = a % 4 if a % 8 > 4 else 0
        follower.stop()
        self.follow()
