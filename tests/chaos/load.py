"""A client that trades while things are killed, and what must add up afterwards."""

import random
import threading
from collections import Counter
from decimal import Decimal

import httpx

from tests.running import Client, reason, until

SYMBOL = "rb2701.SHFE"
FINAL = {"FILLED", "CANCELED", "REJECTED", "EXPIRED"}


class Load(threading.Thread):
    """A client that trades until the platform is gone or `end` is set, and remembers what was acknowledged."""

    def __init__(self, client: Client, prefix: str, chance: random.Random) -> None:
        super().__init__()
        self.client, self.prefix, self.chance = client, prefix, chance
        self.acknowledged: dict[str, str] = {}
        self.tried: list[str] = []
        self.refused: Counter[str] = Counter()
        self.end = threading.Event()

    def run(self) -> None:
        bid = self.client.get(f"/api/market/ticks/{SYMBOL}").json()["tick"]["bidPrices"][0]
        try:
            for number in range(100_000):
                if self.end.is_set():
                    return
                key = f"{self.prefix}-{number}"
                side = self.chance.choice(["BUY", "SELL"])
                more = {}
                if self.chance.random() < 0.5:
                    away = -self.chance.randint(0, 40) if side == "BUY" else self.chance.randint(0, 40)
                    price = Decimal(str(bid)) + away
                    more = {"kind": "LIMIT", "price": str(price), "timeInForce": "TIME_IN_FORCE_GTC"}
                self.tried.append(key)
                answer = self.client.order(SYMBOL, key, side, str(self.chance.randint(1, 3)), **more)
                if answer.status_code == 200:
                    self.acknowledged[key] = answer.json()["order"]["orderId"]
                    if self.chance.random() < 0.2:
                        self.client.post(f"/api/trading/orders/{self.acknowledged[key]}:cancel")
                    elif self.chance.random() < 0.05:
                        self.client.post("/api/trading/orders:cancelAll")
                else:
                    self.refused[reason(answer)] += 1
        except httpx.HTTPError:
            return


def all_pages(client: Client, path: str, noun: str) -> list[dict]:
    resources, token = [], ""
    while True:
        page = client.get(path, pageSize=1000, pageToken=token).json()
        resources += page[noun]
        token = page["nextPageToken"]
        if not token:
            return resources


def check_books(client: Client, acknowledged: dict[str, str]) -> None:
    """Assert that all that was promised is there, once, and that everything adds up."""

    def settled():
        orders = all_pages(client, "/api/trading/orders", "orders")
        states = {o["status"].removeprefix("ORDER_STATUS_") for o in orders}
        return orders if states <= FINAL | {"NEW", "PARTIALLY_FILLED"} else None

    orders = until(settled, timeout_s=20, step_s=0.2)
    by_key = {o["clientOrderId"]: o for o in orders}
    assert len(by_key) == len(orders), "a client order id twice"
    lost = {key for key, order_id in acknowledged.items() if by_key.get(key, {}).get("orderId") != order_id}
    assert not lost, f"acknowledged and lost: {lost}"

    errors: list[str] = []

    def agreed() -> bool:
        try:
            compare(client)
        except AssertionError as error:
            errors.append(str(error))
            return False
        return True

    # Fills go on while pages are read: what does not agree at one moment must agree at another.
    try:
        until(agreed, timeout_s=20, step_s=0.2)
    except AssertionError:
        raise AssertionError(errors[-1]) from None


def compare(client: Client) -> None:
    trades = all_pages(client, "/api/trading/trades", "trades")
    positions = all_pages(client, "/api/trading/positions", "positions")
    entries = all_pages(client, "/api/trading/ledger", "entries")
    account = client.get("/api/trading/account").json()["account"]
    orders = all_pages(client, "/api/trading/orders", "orders")
    venue_ids = Counter(t["venueTradeId"] for t in trades)
    assert max(venue_ids.values(), default=1) == 1, "a fill was applied twice"
    filled: Counter[str] = Counter()
    net = Decimal(0)
    for trade in trades:
        filled[trade["orderId"]] += Decimal(trade["quantity"])  # type: ignore[assignment]
        net += Decimal(trade["quantity"]) * (1 if trade["side"] == "SIDE_BUY" else -1)
    for order in orders:
        assert Decimal(order["cumulativeQuantity"]) == filled[order["orderId"]], order
    held = sum(
        Decimal(p["quantity"]) * (1 if p["side"] == "POSITION_SIDE_LONG" else -1)
        for p in positions
    )  # fmt: skip
    assert held == net, f"positions {held}, trades {net}"
    transactions: dict[str, Decimal] = {}
    cash = Decimal(0)
    for entry in entries:
        amount = Decimal(entry["amount"])
        transactions[entry["transactionId"]] = transactions.get(entry["transactionId"], Decimal(0)) + amount
        if entry["ledgerAccount"].startswith("cash:"):
            cash += amount
    assert all(total == 0 for total in transactions.values()), "a transaction does not sum to 0"
    assert cash == Decimal(account["balance"]), f"ledger {cash}, balance {account['balance']}"
