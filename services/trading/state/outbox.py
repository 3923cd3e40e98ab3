"""Events by which other services learn of orders and trades: rows of the outbox, written with the step."""

from services.kernel.data.writes import Write
from services.kernel.decimals import plain
from services.kernel.events.outbox import Outbox
from services.trading.domain.account import Account
from services.trading.domain.change_set import ChangeSet
from services.trading.domain.position import Position
from services.trading.domain.trade import Trade

ACCEPTED, FILLED, FINISHED = "trading.order_accepted", "trading.order_filled", "trading.order_finished"
UNCERTAIN, EXTERNAL = "trading.order_uncertain", "trading.external_activity"
RESTATED = "trading.order_group_restated"
MARGIN_CALL, REARMED = "trading.margin_call", "trading.stop_rearmed"
OPENED, BUSTED, POSITION = "trading.account_opened", "trading.trade_busted", "trading.position_changed"


class OutboxEvents:
    """Makes the events of a step."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def writes(self, changes: ChangeSet) -> list[Write]:
        """All events of a step, to be written with what they state, where somebody wants them."""
        result: list[Write] = []
        carries = self._outbox.carries
        for order in changes.created.values() if changes.created and carries(ACCEPTED) else ():
            event = self._outbox.event(ACCEPTED)
            event.order_accepted.user_id = order.user_id
            event.order_accepted.order_id = order.order_id
            event.order_accepted.account_id = order.account_id
            event.order_accepted.symbol = order.symbol
            event.order_accepted.client_order_id = order.client_order_id
            event.order_accepted.side = f"SIDE_{order.side.name}"
            event.order_accepted.quantity = plain(order.quantity)
            event.order_accepted.strategy_id = order.strategy_id
            result.append(self._outbox.write(event))
        for call in changes.margin_calls if changes.margin_calls and carries(MARGIN_CALL) else ():
            event = self._outbox.event(MARGIN_CALL)
            event.margin_call.user_id = call.user_id
            event.margin_call.account_id = call.account_id
            event.margin_call.begins = call.begins
            event.margin_call.equity, event.margin_call.margin = plain(call.equity), plain(call.margin)
            result.append(self._outbox.write(event))
        for trade in changes.trades if changes.trades and carries(FILLED) else ():
            if not trade.order_id:
                continue  # an expiry
            event = self._outbox.event(FILLED)
            event.order_filled.user_id = trade.user_id
            event.order_filled.order_id = trade.order_id
            event.order_filled.trade_id = trade.trade_id
            event.order_filled.price, event.order_filled.quantity = plain(trade.price), plain(trade.quantity)
            event.order_filled.account_id, event.order_filled.symbol = trade.account_id, trade.symbol
            event.order_filled.side = f"SIDE_{trade.side.name}"
            event.order_filled.commission = plain(trade.commission)
            result.append(self._outbox.write(event))
        for order in changes.finished if changes.finished and carries(FINISHED) else ():
            event = self._outbox.event(FINISHED)
            event.order_finished.user_id = order.user_id
            event.order_finished.order_id = order.order_id
            event.order_finished.status = f"ORDER_STATUS_{order.status.name}"
            event.order_finished.account_id, event.order_finished.symbol = order.account_id, order.symbol
            event.order_finished.filled_quantity = plain(order.cumulative_quantity)
            result.append(self._outbox.write(event))
        for order in changes.uncertain if changes.uncertain and carries(UNCERTAIN) else ():
            event = self._outbox.event(UNCERTAIN)
            event.order_uncertain.user_id = order.user_id
            event.order_uncertain.order_id = order.order_id
            event.order_uncertain.account_id = order.account_id
            result.append(self._outbox.write(event))
        for activity in changes.external if changes.external and carries(EXTERNAL) else ():
            event = self._outbox.event(EXTERNAL)
            event.external_activity.gateway = activity.gateway
            event.external_activity.kind = activity.kind
            event.external_activity.symbol = activity.symbol
            event.external_activity.venue_id = activity.venue_id
            event.external_activity.quantity = plain(activity.quantity)
            result.append(self._outbox.write(event))
        for restated in changes.restated if changes.restated and carries(RESTATED) else ():
            event = self._outbox.event(RESTATED)
            event.order_group_restated.user_id = restated.group.user_id
            event.order_group_restated.order_group_id = restated.group.order_group_id
            event.order_group_restated.account_id = restated.group.account_id
            event.order_group_restated.symbol = restated.group.orders[0].symbol
            event.order_group_restated.cause = restated.cause
            event.order_group_restated.quantity = plain(restated.quantity)
            event.order_group_restated.unprotected_quantity = plain(restated.unprotected_quantity)
            result.append(self._outbox.write(event))
        for order in changes.rearmed if changes.rearmed and carries(REARMED) else ():
            event = self._outbox.event(REARMED)
            event.stop_rearmed.user_id = order.user_id
            event.stop_rearmed.order_id = order.order_id
            event.stop_rearmed.account_id = order.account_id
            event.stop_rearmed.symbol = order.symbol
            event.stop_rearmed.reason = order.hold_reason
            result.append(self._outbox.write(event))
        if changes.opened and carries(OPENED):
            result += [self._opened(account) for account in changes.opened]
        if changes.trade_updates and carries(BUSTED):
            result += [self._busted(trade) for trade in changes.trade_updates]
        if changes.positions and (changes.trades or changes.trade_updates) and carries(POSITION):
            result += [self._position(position) for position in changes.positions.values()]
        return result

    def _opened(self, account: Account) -> Write:
        event = self._outbox.event(OPENED)
        event.account_opened.user_id, event.account_opened.account_id = account.user_id, account.account_id
        event.account_opened.kind = f"ACCOUNT_KIND_{account.kind.name}"
        event.account_opened.gateway, event.account_opened.currency = account.gateway, account.currency
        return self._outbox.write(event)

    def _busted(self, trade: Trade) -> Write:
        event = self._outbox.event(BUSTED)
        event.trade_busted.user_id, event.trade_busted.account_id = trade.user_id, trade.account_id
        event.trade_busted.trade_id, event.trade_busted.order_id = trade.trade_id, trade.order_id
        event.trade_busted.symbol = trade.symbol
        event.trade_busted.price, event.trade_busted.quantity = plain(trade.price), plain(trade.quantity)
        return self._outbox.write(event)

    def _position(self, position: Position) -> Write:
        event = self._outbox.event(POSITION)
        changed = event.position_changed
        changed.user_id, changed.account_id = position.user_id, position.account_id
        changed.symbol, changed.side = position.symbol, f"POSITION_SIDE_{position.side.name}"
        changed.quantity, changed.average_price = plain(position.quantity), plain(position.average_price)
        changed.realized_pnl = plain(position.realized_pnl)
        return self._outbox.write(event)

    def committed(self) -> None:
        """Deliver what was written: it is durable now."""
        self._outbox.wake()
