"""Trading: an order is validated, checked by risk, written, and published; the engine's reports are applied."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Annotated
from uuid import UUID, uuid4

import httpx
from fastapi import FastAPI, Header, HTTPException, Request
from sqlalchemy import insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tests.bench.peer.broker import connected
from tests.bench.peer.instruments import INSTRUMENTS
from tests.bench.peer.messages import Amount, Message, NewOrder, Order, Report, RiskCheck, RiskDecision, Status
from tests.bench.peer.settings import Settings
from tests.bench.peer.tables import accounts, metadata, orders, trades

settings = Settings()
KEPT = httpx.Limits(max_connections=200, max_keepalive_connections=200)
POOL_SIZE = 20

UserId = Annotated[str, Header(alias="x-user-id")]


class NewAccount(Message):
    """An account to open."""

    user_id: str
    balance: Amount


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep connections to the database, the broker and risk."""
    database = create_async_engine(settings.database_url, pool_size=POOL_SIZE, max_overflow=0)
    async with database.begin() as connection:
        await connection.run_sync(metadata.create_all)
    async with (
        connected(settings.broker_url) as broker,
        httpx.AsyncClient(base_url=settings.risk_url, limits=KEPT, timeout=30) as risk,
    ):
        app.state.database, app.state.broker, app.state.risk = database, broker, risk
        await broker.consume("order.reported", lambda body: apply(database, Report.model_validate_json(body)))
        yield
    await database.dispose()


app = FastAPI(lifespan=lifespan)


@app.post("/orders")
async def create_order(new: NewOrder, user_id: UserId, request: Request) -> Order:
    """Take an order: it is written and published when this answers."""
    state = request.app.state
    instrument = INSTRUMENTS.get(new.symbol)
    if instrument is None:
        raise HTTPException(404, "UNKNOWN_SYMBOL")
    price = new.price or instrument.last_price
    if price % instrument.price_tick:
        raise HTTPException(422, "PRICE_NOT_ON_TICK")
    notional = price * new.quantity * instrument.contract_size
    check = RiskCheck(user_id=user_id, symbol=new.symbol, quantity=new.quantity, notional=notional)
    headers = {"content-type": "application/json"}
    answer = await state.risk.post("/check", content=check.model_dump_json(by_alias=True), headers=headers)
    answer.raise_for_status()
    decision = RiskDecision.model_validate_json(answer.content)
    if not decision.allowed:
        raise HTTPException(422, decision.reason)
    order = Order(order_id=uuid4(), user_id=user_id, status=Status.PENDING_NEW, **dict(new))
    await write(state.database, order, notional * instrument.margin_rate)
    await state.broker.publish("order.created", order.model_dump_json(by_alias=True))
    return order


async def write(database: AsyncEngine, order: Order, margin: Decimal) -> None:
    """Write an order and reserve its margin, in one transaction."""
    reserve = (
        update(accounts)
        .where(accounts.c.user_id == order.user_id, accounts.c.balance - accounts.c.frozen >= margin)
        .values(frozen=accounts.c.frozen + margin)
    )
    try:
        async with database.begin() as connection:
            await connection.execute(insert(orders).values(**dict(order), reserved=margin))
            if not (await connection.execute(reserve)).rowcount:
                raise HTTPException(422, "INSUFFICIENT_FUNDS")
    except IntegrityError as error:
        raise HTTPException(409, "an order with this client_order_id, or no such account") from error


async def apply(database: AsyncEngine, report: Report) -> None:
    """Apply a report once: one that comes again changes nothing."""
    change = (
        update(orders)
        .where(orders.c.order_id == report.order_id, orders.c.status == Status.PENDING_NEW)
        .values(status=report.status)
        .returning(orders.c.user_id, orders.c.quantity, orders.c.reserved)
    )
    async with database.begin() as connection:
        order = (await connection.execute(change)).one_or_none()
        if order is None or report.trade_id is None:
            return
        trade = {"trade_id": report.trade_id, "order_id": report.order_id, "price": report.price}
        await connection.execute(insert(trades).values(**trade, quantity=order.quantity))
        spent = {"balance": accounts.c.balance - order.reserved, "frozen": accounts.c.frozen - order.reserved}
        await connection.execute(update(accounts).where(accounts.c.user_id == order.user_id).values(spent))


@app.get("/orders/{order_id}")
async def get_order(order_id: UUID, user_id: UserId, request: Request) -> Order:
    """An order of the caller's."""
    fields = [orders.c[name] for name in Order.model_fields]
    query = select(*fields).where(orders.c.order_id == order_id, orders.c.user_id == user_id)
    async with request.app.state.database.connect() as connection:
        row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise HTTPException(404, "NOT_FOUND")
    return Order(**row._mapping)


@app.post("/accounts")
async def open_account(new: NewAccount, request: Request) -> NewAccount:
    """Open an account, for who is registered."""
    async with request.app.state.database.begin() as connection:
        await connection.execute(upsert(accounts).values(**dict(new), frozen=0).on_conflict_do_nothing())
    return new


@app.get("/health")
async def health() -> dict[str, str]:
    """Say that it serves."""
    return {"status": "SERVING"}
