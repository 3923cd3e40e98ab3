"""The terminal output of `redfire up --demo`."""

import json
import re
import signal

import httpx

from tests.running import until
from tests.screen import Screen

STATUS = re.compile(r"(\d+) ticks/s   (\d+) orders   (\d+) trades   demo P&L ([+-][\d,]+\.\d\d) CNY")
SYMBOL = "rb2701.SHFE"


class Terminal(Screen):
    """`redfire up` at a terminal, and its status line."""

    def status(self) -> tuple[int, int, int, float] | None:
        """The last status line: ticks/s, orders, trades, P&L."""
        lines = STATUS.findall(self.shown)
        if not lines:
            return None
        rate, orders, trades, profit = lines[-1]
        return int(rate), int(orders), int(trades), float(profit.replace(",", ""))


def test_the_status_line_counts_ticks_orders_trades_and_the_demos_profit(tmp_path):
    terminal = Terminal("up", "--demo", "--port", "0", "--data-dir", tmp_path / "data")
    try:
        assert until(terminal.status, timeout_s=60)
        assert "administrator: admin / " in terminal.shown
        # Several symbols, 10 ticks/s each by default.
        until(lambda: terminal.status()[0] > 20, timeout_s=20)
        edge = json.loads((tmp_path / "data" / "addresses.json").read_text())["edge"]
        token = (tmp_path / "data" / "demo-token").read_text()
        with httpx.Client(base_url=f"http://{edge}", headers={"authorization": f"Bearer {token}"}) as demo:
            before = terminal.status()
            for number in range(3):
                body = {
                    "clientOrderId": f"seen-{number}", "symbol": SYMBOL, "side": "SIDE_BUY",
                    "type": "ORDER_TYPE_MARKET", "quantity": "1",
                }  # fmt: skip
                assert demo.post("/api/trading/orders", json=body).status_code == 200
            until(lambda: terminal.status()[1] >= before[1] + 3, timeout_s=20)
            until(lambda: terminal.status()[2] >= before[2] + 3, timeout_s=20)

            # The counts are those of the demo's account, the only one that trades here.
            def same():
                _, orders, trades, _ = terminal.status()
                listed = demo.get("/api/trading/orders", params={"pageSize": 1000}).json().get("orders", [])
                booked = demo.get("/api/trading/trades", params={"pageSize": 1000}).json().get("trades", [])
                return (orders, trades) == (len(listed), len(booked))

            until(same, timeout_s=20)
            # A commission at least is paid.
            until(lambda: terminal.status()[3] != 0, timeout_s=20)
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.process.wait(15) == 0
        until(lambda: "Stopping" in terminal.shown)
    finally:
        if terminal.process.poll() is None:
            terminal.process.kill()
            terminal.process.wait()
