"""Risk: limits of each order, and of orders a second."""

import time
from collections import defaultdict, deque
from decimal import Decimal

from fastapi import FastAPI

from tests.bench.peer.messages import RiskCheck, RiskDecision

MAX_QUANTITY = Decimal(1000)
MAX_NOTIONAL = Decimal(1_000_000_000)
MAX_ORDERS_PER_SECOND = 100_000

app = FastAPI()
recent: defaultdict[str, deque[float]] = defaultdict(deque)
halted: set[str] = set()


@app.post("/check")
async def check(order: RiskCheck) -> RiskDecision:
    """Decide on an order."""
    if order.user_id in halted:
        return RiskDecision(allowed=False, reason="TRADING_HALTED")
    if order.quantity > MAX_QUANTITY or order.notional > MAX_NOTIONAL:
        return RiskDecision(allowed=False, reason="ORDER_TOO_LARGE")
    times, now = recent[order.user_id], time.monotonic()
    while times and times[0] < now - 1:
        times.popleft()
    if len(times) >= MAX_ORDERS_PER_SECOND:
        return RiskDecision(allowed=False, reason="TOO_MANY_ORDERS")
    times.append(now)
    return RiskDecision(allowed=True)


@app.get("/health")
async def health() -> dict[str, str]:
    """Say that it serves."""
    return {"status": "SERVING"}
