"""The interface of a gateway for the engine's service."""

from decimal import Decimal
from typing import Protocol

from services.engine.updates import OrderRequest, VenueState


class Venue(Protocol):
    """Orders at a gateway, SIM or another."""

    async def send(self, request: OrderRequest) -> str:
        """The venue's id of the order, once the gateway has it for good; the same order_id again sends nothing."""

    async def cancel(self, order_id: str, venue_order_id: str, symbol: str) -> None:
        """Ask for a cancel. Raises NotFound for an order that the gateway never had."""

    async def amend(self, order_id: str, venue_order_id: str, quantity: Decimal | None, price: Decimal | None) -> None:
        """Ask for another quantity or price; None leaves it. Raises NotFound, or FailedPrecondition (UNSUPPORTED)."""

    async def sent_before(self, order_id: str) -> str:
        """The venue's id of an order that was sent, empty when it never was.

        Raises: DeadlineExceeded when whether it was is not known, NotSent when the gateway did not take it.
        """

    def is_sending(self, order_id: str) -> bool:
        """Return whether an order is being sent, also where nobody waits for that any more."""

    async def state(self, order_ids: list[str], trades_cursor: str = "") -> VenueState:
        """Open orders and these, with their trades and, after the cursor, those of the day; positions, accounts."""

    def settle(self) -> None:
        """Note that the gateway has sent all that it had to send after it was connected."""

    def cut(self) -> None:
        """Note that the gateway is not connected any more."""

    def renew(self) -> None:
        """Note that the gateway was closed, and that the next connect makes another."""


class Subscriber(Protocol):
    """Asks gateways for symbols' ticks on behalf of subscribers."""

    def subscribe(self, symbol: str, gateway_name: str, subscriber: str) -> None:
        """Subscribe; again changes nothing."""

    def unsubscribe(self, symbol: str, subscriber: str) -> bool:
        """Withdraw what a subscriber asked for; true when nobody asks for the symbol any more."""
