"""The disk is full: nothing can be written. The platform says so, loses nothing, and is well again by itself."""

import resource

import httpx

from tests.running import Running, until

SYMBOL = "rb2701.SHFE"


def test_while_nothing_can_be_written_it_is_not_serving_and_then_it_is_again(tmp_path):
    with Running("--feed", "sim:7", data_dir=tmp_path / "data") as running:
        alice = running.register("alice")
        until(lambda: alice.get(f"/api/market/ticks/{SYMBOL}").status_code == 200)
        assert alice.order(SYMBOL, "before").status_code == 200
        pid = running.process.pid
        soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
        until(lambda: httpx.get(f"{running.url}/healthz").status_code == 503, timeout_s=30)
        services = until(lambda: _all(running, "NOT_SERVING", "auth", "config", "risk", "strategy", "trading", "user"))
        assert services["market"] == "SERVING"  # it has no database
        until(
            lambda: (
                "the log of ticks" in httpx.get(f"{running.url}/healthz").json().get("failures", {}).get("market", "")
            )
        )
        assert alice.order(SYMBOL, "meanwhile").status_code == 503
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
        until(lambda: httpx.get(f"{running.url}/healthz").status_code == 200, timeout_s=30)
        until(lambda: alice.order(SYMBOL, "after").status_code == 200)
        until(lambda: not _failures(running))
        assert "the log of ticks can be written again" in running.log()
        orders = alice.get("/api/trading/orders").json()["orders"]
        assert {order["clientOrderId"] for order in orders} == {"before", "after"}
        assert "the database cannot be written" in running.log()
        assert "the database can be written again" in running.log()


def _failures(running):
    return httpx.get(f"{running.url}/healthz").json().get("failures", {})


def _all(running, state, *names):
    services = httpx.get(f"{running.url}/healthz").json()["services"]
    return services if {services[name] for name in names} == {state} else None
