"""Accounts: their gateways and currencies, and the source of live accounts' money."""

from decimal import Decimal as D

import grpc
import pytest
from google.protobuf import timestamp_pb2
from redfire.trading.v1 import account_service_pb2 as account_pb
from redfire.trading.v1 import order_service_pb2 as order_pb
from sqlalchemy import func, select

from services.trading import models
from tests.trading.conftest import Client, refused, trading
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("both_databases")

PAPER, LIVE = 1, 2


async def open_account(client, kind=PAPER, gateway="SIM", request_id=""):
    request = account_pb.OpenAccountRequest(display_name="x", kind=kind, gateway=gateway, request_id=request_id)
    return (await client.accounts.OpenAccount(request)).account


def admin_of(trader):
    client = Client(trader.platform, trader.platform.identity(role="admin"))
    client.engine, client.market = trader.engine, trader.market
    return client


async def cash(client, account_id):
    entries = [e for e in await client.entries() if e.account_id == account_id]
    return sum((D(e.amount) for e in entries if e.ledger_account.startswith("cash:")), D(0))


# Gateways


@pytest.mark.parametrize("gateway", ["CTP", "NOWHERE"])
async def test_a_paper_account_is_opened_at_simulated_gateways_only(trader, gateway):
    trader.engine.simulated = gateway != "CTP"
    async with refused("GATEWAY_NOT_ALLOWED"):
        await open_account(trader, gateway="SIM" if gateway == "CTP" else gateway)
    trader.engine.simulated = True
    assert (await open_account(trader)).gateway == "SIM"


async def test_a_live_account_is_an_administrators_and_at_a_real_gateway_one_of_each(trader):
    admin = admin_of(trader)
    async with refused("GATEWAY_NOT_ALLOWED"):
        await open_account(admin, LIVE)
    trader.engine.simulated = False
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await open_account(trader, LIVE)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    first = await open_account(admin, LIVE, request_id="a")
    assert (await open_account(admin, LIVE, request_id="a")).account_id == first.account_id
    async with refused("GATEWAY_NOT_ALLOWED"):
        await open_account(admin, LIVE, request_id="b")


async def test_a_paper_account_of_older_data_that_points_at_a_real_gateway_sends_nothing_there(tmp_path):
    async with trading(data_dir=tmp_path, user_id="u-1") as trader:
        stop = await trader.create(type="STOP", stop_price="4100")
    trader.peers.engine.simulated = False
    async with trading(peers=trader.peers, data_dir=tmp_path, user_id="u-1") as trader:
        async with refused("GATEWAY_NOT_ALLOWED"):
            await trader.create()
        await until(lambda: trader.market.listeners)
        trader.market.price(stop.symbol, 4101.0)
        await trader.becomes(stop.order_id, "REJECTED", "NEW")
        assert not trader.engine.sends
        await trader.account()


# Money of live accounts


def report(client, balance, available=None, frozen="0", seconds=None, account="888", **more):
    client.seconds = seconds or getattr(client, "seconds", 1_900_000_000) + 10
    client.engine.emit(
        account={
            "gateway_name": "SIM", "venue_account_id": account, "balance": str(balance),
            "available": str(balance if available is None else available), "frozen": frozen,
            "time": timestamp_pb2.Timestamp(seconds=client.seconds), **more,
        }
    )  # fmt: skip


@pytest.fixture
async def live():
    async with trading() as trader:
        trader.engine.simulated = False
        admin = admin_of(trader)
        account = await open_account(admin, LIVE)
        admin.account_id = account.account_id
        yield admin


async def reported(client, balance):
    async def same():
        account = await client.account(client.account_id)
        return account if account.HasField("venue") and D(account.venue.balance) == balance else None

    return await until(same)


async def test_a_live_account_has_the_money_that_its_gateway_reports_and_none_before(live):
    account = await live.account(live.account_id)
    assert (account.balance, account.available) == ("0", "0") and not account.HasField("venue")
    async with refused("INSUFFICIENT_FUNDS"):
        await live.create(account_id=live.account_id)
    report(live, 500_000, 480_000, "20000", margin="0", currency="CNY")
    account = await reported(live, 500_000)
    assert (account.balance, account.available, account.equity) == ("500000", "480000", "500000")
    assert (account.venue.venue_account_id, account.venue.balance_difference) == ("888", "500000")
    (entry,) = [e for e in await live.entries() if e.ledger_account.startswith("cash:")]
    assert entry.kind == 7 and entry.reference.startswith("SIM:888:")
    report(live, 500_100)
    account = await reported(live, 500_100)
    assert account.balance == "500100" == str(await cash(live, live.account_id))
    report(live, 1, account="999")
    report(live, 500_101)
    assert (await reported(live, 500_101)).balance == "500101"


async def test_available_is_never_more_than_reported_and_less_by_what_was_accepted_since(live):
    now = int(live.platform.host.clock.now_ns() / 1e9)
    report(live, 500_000, 400_000, seconds=now - 100)
    await reported(live, 500_000)
    order = await live.create(account_id=live.account_id)
    held = D("144000") + D(4000 * 300) * D("0.000023")
    account = await live.account(live.account_id)
    assert D(account.available) == 400_000 - held
    await live.becomes(order.order_id, "NEW")
    # What is released counts with the next report; one from before the order still does not know it.
    await live.cancel(order.order_id)
    await live.becomes(order.order_id, "CANCELED")
    assert D((await live.account(live.account_id)).available) == 400_000 - held
    report(live, 500_000, 399_999, seconds=now - 50)
    await until(lambda: _venue_available(live, "399999"))
    assert D((await live.account(live.account_id)).available) == 399_999 - held
    report(live, 500_000, 400_000, seconds=now + 100)
    await until(lambda: _venue_available(live, "400000"))
    assert (await live.account(live.account_id)).available == "400000"


async def _venue_available(client, available):
    return (await client.account(client.account_id)).venue.available == available


@pytest.mark.parametrize("report_first", [True, False])
async def test_a_fill_between_two_reports_is_not_adjusted_as_well(live, report_first):
    report(live, 500_000)
    await reported(live, 500_000)
    order = await live.create(account_id=live.account_id)
    await live.becomes(order.order_id, "NEW")
    commission = D(4000 * 300) * D("0.000023")
    after = 500_000 - commission
    if report_first:
        report(live, after)
        await reported(live, after)
    live.engine.fill(order.order_id, 1, "4000")
    await live.becomes(order.order_id, "FILLED")
    for _ in range(3):
        report(live, after)
        await reported(live, after)
    account = await live.account(live.account_id)
    assert D(account.balance) == after == await cash(live, live.account_id)
    assert [e.kind for e in await live.entries() if e.ledger_account.startswith("cash:")] == [3, 7]


async def test_while_a_position_is_held_a_difference_is_posted_when_it_is_confirmed(live):
    report(live, 500_000)
    await reported(live, 500_000)
    order = await live.create(account_id=live.account_id)
    await live.becomes(order.order_id, "NEW")
    live.engine.fill(order.order_id, 1, "4000")
    await live.becomes(order.order_id, "FILLED")
    commission = D(4000 * 300) * D("0.000023")
    for extra in (100, 50_000):  # prices a moment apart; then somebody paid in
        for step in range(3):
            report(live, 500_000 - commission + extra + step)
            account = await reported(live, 500_000 - commission + extra + step)
            assert D(account.balance) == await cash(live, live.account_id)
        posted = [e for e in await live.entries() if e.kind == 7 and e.ledger_account.startswith("cash:")]
        assert len(posted) == (1 if extra == 100 else 2)
    assert D(account.balance) == 500_000 - commission + 50_001


async def test_what_a_gateway_reported_is_there_after_a_restart_but_must_be_reported_again_before_anything_is_opened(
    tmp_path,
):
    async with trading(data_dir=tmp_path, user_id="u-1") as trader:
        trader.engine.simulated = False
        admin = Client(trader.platform, trader.platform.identity("admin-1", role="admin"))
        admin.engine, admin.account_id = trader.engine, (await open_account(admin, LIVE)).account_id
        report(admin, 500_000)
        await reported(admin, 500_000)
    async with trading(peers=trader.peers, data_dir=tmp_path, user_id="u-1") as trader:
        again = Client(trader.platform, trader.platform.identity("admin-1", role="admin"))
        again.engine, again.account_id, again.seconds = trader.engine, admin.account_id, admin.seconds
        account = await again.account(again.account_id)
        assert (account.balance, account.available, account.venue.balance) == ("500000", "0", "500000")
        async with refused("INSUFFICIENT_FUNDS"):
            await again.create(account_id=again.account_id)
        report(again, 500_000)
        await until(lambda: _available(again, "500000"))
        await again.create(account_id=again.account_id)


async def _available(client, available):
    return (await client.account(client.account_id)).available == available


# CurrencyRates


def in_dollars(trader):
    real = trader.market.instrument

    def instrument(symbol):
        message = real(symbol)
        if symbol == "CL2701.NYMEX":
            message.currency, message.commission_fixed, message.contract_size = "USD", "2", "1000"
        return message

    trader.market.instrument = instrument
    trader.market.prices["CL2701.NYMEX"] = 70.0


async def test_an_instrument_in_another_currency_is_refused_without_a_rate(trader):
    in_dollars(trader)
    async with refused("CURRENCY_MISMATCH"):
        await trader.create(symbol="CL2701.NYMEX", price="70")
    assert (await trader.account()).frozen == "0"


async def test_with_a_rate_margin_commission_and_profit_are_in_the_accounts_currency(tmp_path):
    async with trading(data_dir=tmp_path, user_id="u-1", currency_rates={"USD/CNY": "7.1"}) as trader:
        in_dollars(trader)
        asked = trader.request(symbol="CL2701.NYMEX", price="70").SerializeToString()
        preview = await trader.orders.PreviewOrder(order_pb.PreviewOrderRequest.FromString(asked))
        order = await trader.create(symbol="CL2701.NYMEX", price="70")
        fee = 2 * D("7.1") + 70 * 1000 * D("7.1") * D("0.000023")
        margin = 70 * 1000 * D("7.1") * D("0.12")
        assert D((await trader.account()).frozen) == margin + fee
        assert (D(preview.margin), D(preview.commission)) == (margin, fee)
        await trader.becomes(order.order_id, "NEW")
        trader.engine.fill(order.order_id, 1, "70")
        await trader.becomes(order.order_id, "FILLED")
        account = await trader.account()
        assert D(account.margin) == margin and D(account.balance) == 1_000_000 - fee
        assert (await trader.positions())[0].average_price == "70"
    # The rate is taken out: nothing more is opened, and what is held is closed at its own rate.
    async with trading(peers=trader.peers, data_dir=tmp_path, user_id="u-1") as trader:
        async with refused("CURRENCY_MISMATCH"):
            await trader.create(symbol="CL2701.NYMEX", price="70")
        order = await trader.create("SELL", symbol="CL2701.NYMEX", price="71", effect="CLOSE")
        await trader.becomes(order.order_id, "NEW")
        trader.engine.fill(order.order_id, 1, "71")
        await trader.becomes(order.order_id, "FILLED")
        assert (await trader.account()).realized_pnl == "7100"


async def test_the_longest_request_id_opens_one_account_and_fits_its_column(tmp_path):
    async with trading(data_dir=tmp_path, user_id="u-1") as trader:
        first = await open_account(trader, request_id="r" * 64)
        assert (await open_account(trader, request_id="r" * 64)).account_id == first.account_id
        assert (await open_account(trader, request_id="r" * 63 + "s")).account_id != first.account_id
    async with trading(peers=trader.peers, data_dir=tmp_path, user_id="u-1") as trader:
        assert (await open_account(trader, request_id="r" * 64)).account_id == first.account_id
        ((longest,),) = await trader.platform.rows(
            "trading", select(func.max(func.length(models.AccountRow.request_id)))
        )
    assert longest <= models.AccountRow.request_id.type.length
