"""Events by which other services learn of orders and trades: rows of the outbox, written with the step."""

from services.kernel.data.events import Outbox
from services.kernel.data.group_commit import Write
from services.kernel.decimals import plain
from services.trading.domain.change_set import ChangeSet

ACCEPTED, FILLED, FINISHED = "trading.order_accepted", "trading.order_filled", "trading.order_finished"
UNCERTAIN, EXTERNAL = "trading.order_uncertain", "trading.external_activity"
RESTATED = "trading.order_group_restated"
MARGIN_CALL, REARMED = "trading.margin_call", "trading.stop_rearmed"


class OutboxEvents:
    """Makes the events of a step."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def writes(self, changes: ChangeSet) -> list[Write]:
        """All events of a step, to be written with what they state, where somebody subscribes."""
        result: list[Write] = []
        has_subscriber = self._outbox.has_subscriber
        for order in changes.created.values() if changes.created and has_subscriber(ACCEPTED) else ():
            event = self._outbox.event(ACCEPTED)
            event.order_accepted.user_id = order.user_id
            event.order_accepted.order_id = order.order_id
            event.order_accepted.account_id = order.account_id
            event.order_accepted.symbol = order.symbol
            result.append(self._outbox.write(event))
        for call in changes.margin_calls if changes.margin_calls and has_subscriber(MARGIN_CALL) else ():
            event = self._outbox.event(MARGIN_CALL)
            event.margin_call.user_id = call.user_id
            event.margin_call.account_id = call.account_id
            event.margin_call.begins = call.begins
            event.margin_call.equity, event.margin_call.margin = plain(call.equity), plain(call.margin)
            result.append(self._outbox.write(event))
        for trade in changes.trades if changes.trades and has_subscriber(FILLED) else ():
            if not trade.order_id:
                continue  # an expiry
            event = self._outbox.event(FILLED)
            event.order_filled.user_id = trade.user_id
            event.order_filled.order_id = trade.order_id
            event.order_filled.trade_id = trade.trade_id
            event.order_filled.price, event.order_filled.quantity = plain(trade.price), plain(trade.quantity)
            result.append(self._outbox.write(event))
        for order in changes.finished if changes.finished and has_subscriber(FINISHED) else ():
            event = self._outbox.event(FINISHED)
            event.order_finished.user_id = order.user_id
            event.order_finished.order_id = order.order_id
            event.order_finished.status = f"ORDER_STATUS_{order.status.name}"
            result.append(self._outbox.write(event))
        for order in changes.uncertain if changes.uncertain and has_subscriber(UNCERTAIN) else ():
            event = self._outbox.event(UNCERTAIN)
            event.order_uncertain.user_id = order.user_id
            event.order_uncertain.order_id = order.order_id
            event.order_uncertain.account_id = order.account_id
            result.append(self._outbox.write(event))
        for activity in changes.external if changes.external and has_subscriber(EXTERNAL) else ():
            event = self._outbox.event(EXTERNAL)
            event.external_activity.gateway = activity.gateway
            event.external_activity.kind = activity.kind
            event.external_activity.symbol = activity.symbol
            event.external_activity.venue_id = activity.venue_id
            event.external_activity.quantity = plain(activity.quantity)
            result.append(self._outbox.write(event))
        for restated in changes.restated if changes.restated and has_subscriber(RESTATED) else ():
            event = self._outbox.event(RESTATED)
            event.order_group_restated.user_id = restated.group.user_id
            event.order_group_restated.order_group_id = restated.group.order_group_id
            event.order_group_restated.account_id = restated.group.account_id
            event.order_group_restated.symbol = restated.group.orders[0].symbol
            event.order_group_restated.cause = restated.cause
            event.order_group_restated.quantity = plain(restated.quantity)
            event.order_group_restated.unprotected_quantity = plain(restated.unprotected_quantity)
            result.append(self._outbox.write(event))
        for order in changes.rearmed if changes.rearmed and has_subscriber(REARMED) else ():
            event = self._outbox.event(REARMED)
            event.stop_rearmed.user_id = order.user_id
            event.stop_rearmed.order_id = order.order_id
            event.stop_rearmed.account_id = order.account_id
            event.stop_rearmed.symbol = order.symbol
            event.stop_rearmed.reason = order.hold_reason
            result.append(self._outbox.write(event))
        return result

    def committed(self) -> None:
        """Deliver what was written: it is durable now."""
        self._outbox.wake()
