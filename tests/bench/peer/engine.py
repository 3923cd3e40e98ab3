"""The engine: a venue that takes orders from the broker, fills what crosses its price, and reports back."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from fastapi import FastAPI

from tests.bench.peer.broker import Broker, connected
from tests.bench.peer.instruments import INSTRUMENTS
from tests.bench.peer.messages import Order, OrderType, Report, Side, Status
from tests.bench.peer.settings import Settings

settings = Settings()


def report_of(order: Order) -> Report:
    """The outcome of an order: filled, or resting."""
    last = INSTRUMENTS[order.symbol].last_price
    crosses = order.price is None or (order.price >= last if order.side is Side.BUY else order.price <= last)
    if order.type is OrderType.MARKET or crosses:
        return Report(order_id=order.order_id, status=Status.FILLED, trade_id=uuid4(), price=last)
    return Report(order_id=order.order_id, status=Status.NEW)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Take orders while it serves."""

    async with connected(settings.broker_url) as broker:
        await broker.consume("order.created", lambda body: take(broker, body))
        yield


async def take(broker: Broker, body: bytes) -> None:
    """Answer an order by a report."""
    await broker.publish("order.reported", report_of(Order.model_validate_json(body)).model_dump_json(by_alias=True))


app = FastAPI(lifespan=lifespan)


@app.get("/health")
async def health() -> dict[str, str]:
    """Say that it serves."""
    return {"status": "SERVING"}
