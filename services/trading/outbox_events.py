"""What trading tells other services through its outbox."""

from services.kernel.decimals import plain
from services.kernel.events import Outbox
from services.kernel.writer import Write
from services.trading.changes import Changes

ACCEPTED, FILLED, FINISHED = "trading.order_accepted", "trading.order_filled", "trading.order_finished"


class OutboxEvents:
    """Makes the events of a step."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def writes(self, changes: Changes) -> list[Write]:
        """OrderAccepted, OrderFilled and OrderFinished, to be written with what they tell of, where they are heard."""
        result: list[Write] = []
        wants = self._outbox.wants
        for order in changes.created.values() if wants(ACCEPTED) else ():
            event = self._outbox.event(ACCEPTED)
            event.order_accepted.user_id = order.user_id
            event.order_accepted.order_id = order.order_id
            event.order_accepted.account_id = order.account_id
            event.order_accepted.symbol = order.symbol
            result.append(self._outbox.write(event))
        for trade in changes.trades if wants(FILLED) else ():
            event = self._outbox.event(FILLED)
            event.order_filled.user_id = trade.user_id
            event.order_filled.order_id = trade.order_id
            event.order_filled.trade_id = trade.trade_id
            event.order_filled.price, event.order_filled.quantity = plain(trade.price), plain(trade.quantity)
            result.append(self._outbox.write(event))
        for order in changes.finished if wants(FINISHED) else ():
            event = self._outbox.event(FINISHED)
            event.order_finished.user_id = order.user_id
            event.order_finished.order_id = order.order_id
            event.order_finished.status = f"ORDER_STATUS_{order.status.name}"
            result.append(self._outbox.write(event))
        return result

    def committed(self) -> None:
        """What was written is durable: it is delivered now."""
        self._outbox.wake()
