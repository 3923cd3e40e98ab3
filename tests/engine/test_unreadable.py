"""Unreadable reports of a gateway are counted and published as its error, and all else goes on."""

import math

import pytest
from redfire.engine.v1 import engine_pb2 as pb
from vnpy.trader.constant import Direction, Exchange, Offset, Status
from vnpy.trader.object import AccountData, OrderData, PositionData, TickData, TradeData

from services.engine.convert import tick_frame
from services.engine.updates import TradeUpdate
from services.engine.vnpy.mapping import trade_from_vnpy
from services.kernel.clock import Clock
from services.kernel.rpc.telemetry import total
from tests.engine import ctp_fields as ctp
from tests.engine.ctp_fields import SC, garble
from tests.engine.running import FAKE, Harness, complete, engine_at, is_status, running_engine, send, venue_of
from tests.waiting import until


async def test_a_gateways_error_that_is_no_utf8_ends_nobodys_stream(tmp_path):
    gateways = {"BAD": {**FAKE, "auto_connect": False, "setting": {"mood": "angry", "words": garble("密码错误")}}}
    async with running_engine(tmp_path, gateways=gateways) as harness:
        answer = await harness.admin.ConnectGateway(pb.ConnectGatewayRequest(gateway_name="BAD"))
        assert answer.gateway.status == pb.GATEWAY_STATUS_ERROR and "?" in answer.gateway.last_error
        order_id, _ = await harness.send()
        await harness.status(order_id, "FILLED")


async def test_a_gateways_bad_text_is_reported_readably_and_the_streams_go_on(front, tmp_path):
    front.garbled = True
    async with engine_at(front, tmp_path) as harness:
        front.disconnect()
        order_id, _ = await harness.send()
        await harness.status(order_id, "FILLED")
        contracts = (await harness.engine.ListContracts(pb.ListContractsRequest())).instruments
        assert "?" in next(c.display_name for c in contracts if c.symbol == "sc2701.INE")


@pytest.mark.parametrize("price", [math.nan, math.inf, 1.7976931348623157e308])
async def test_a_fill_without_a_readable_price_is_surfaced_and_the_next_ones_come(front, tmp_path, price):
    async with engine_at(front, tmp_path) as harness:
        order_id, venue_order_id = await send(harness)
        await harness.status(order_id, "NEW")
        counted = total("engine_unreadable_reports_total")
        front.fill(front.find(venue_order_id), 1, price)
        await until(lambda: total("engine_unreadable_reports_total") > counted)
        # A follower of the gateway receives the error, and queries its state.
        gateways = await until(
            lambda: [
                m.gateway for m in harness.events if m.HasField("gateway") and "unreadable" in m.gateway.last_error
            ]
        )
        assert gateways[0].gateway_name == "CTP" and gateways[0].status == pb.GATEWAY_STATUS_CONNECTED
        front.fill(front.find(venue_order_id), 1, 3100)
        await harness.filled(order_id)
        assert [t.price for t in harness.trades(order_id)] == ["3100"]
        state = await harness.state(order_id, gateway="CTP")
        assert state.complete and [t.price for t in state.trades] == ["3100"]


async def test_an_order_without_a_readable_price_does_not_spoil_the_answer_for_others(front, tmp_path):
    async with engine_at(front, tmp_path) as harness:
        order_id, _ = await send(harness)
        front.external(SC, ctp.BUY, ctp.OPEN, math.nan, 1)
        await harness.status(order_id, "NEW")
        await until(lambda: complete(harness))
        assert [o.order_id for o in (await harness.state(gateway="CTP")).orders] == [order_id]


async def test_an_event_that_cannot_be_put_into_a_message_is_replaced_by_its_gateways_state(front, tmp_path):
    async with engine_at(front, tmp_path, follow=False) as harness:
        venue = venue_of(harness)
        first = Harness(harness.platform)
        stream = first.engine.StreamEvents(pb.StreamEventsRequest(), timeout=10)
        started = (await stream.read()).started
        venue.reports._publish(TradeUpdate("CTP", "o", "v", "t", "\ud800", 1, 2, None, None, None, 0))
        message = await stream.read()
        assert message.sequence == started.sequence + 1 and message.gateway.gateway_name == "CTP"
        again = first.engine.StreamEvents(
            pb.StreamEventsRequest(epoch=started.epoch, resume_after_sequence=started.sequence), timeout=10
        )
        assert (await again.read()).started.resumed
        assert (await again.read()).gateway.gateway_name == "CTP"


def tick(**numbers):
    return TickData(
        gateway_name="CTP", symbol="rb2701", exchange=Exchange.SHFE, datetime=Clock().now(),
        **{"last_price": 1.0, **numbers},
    )  # fmt: skip


def decoded(frame):
    return pb.StreamTicksResponse.FromString(frame).ticks[0]


def test_numbers_of_a_tick_that_are_none_count_as_nothing():
    made = tick(open_price=math.nan, limit_up=1.79e308, bid_price_1=math.nan, bid_volume_1=3, ask_price_1=2.0, volume=5)
    message = decoded(tick_frame(made, 7))
    assert (message.open_price, message.limit_up, list(message.bid_prices)) == (0, 0, [])
    assert (message.last_price, list(message.ask_prices), message.volume, message.gateway) == (1.0, [2.0], 5, "CTP")


@pytest.mark.parametrize("price", [math.nan, math.inf, -math.inf, 1.79e308])
def test_a_tick_without_a_last_price_is_none(price):
    with pytest.raises(ValueError, match="last_price"):
        tick_frame(tick(last_price=price), 1)


def test_both_sides_of_a_trade_with_oneself_are_two_trades():
    now = Clock().now()
    made = [
        trade_from_vnpy(
            TradeData(
                gateway_name="CTP",
                symbol="rb2701",
                exchange=Exchange.SHFE,
                orderid="1_2_3",
                tradeid="  77",
                direction=direction,
                offset=Offset.OPEN,
                price=1,
                volume=1,
                datetime=now,
            ),
            "",
            now,
            20261130,
        )
        for direction in (Direction.LONG, Direction.SHORT)
    ]
    assert [trade.venue_trade_id for trade in made] == ["20261130:SHFE:77:BUY", "20261130:SHFE:77:SELL"]


async def test_a_report_with_a_symbol_that_nothing_takes_holds_up_no_other(front, tmp_path):
    async with engine_at(front, tmp_path) as harness:
        order_id, venue_order_id = await send(harness)
        await harness.status(order_id, "NEW")
        venue = venue_of(harness)
        counted = total("engine_unreadable_reports_total")
        for orderid in ("1_2_3", venue_order_id):
            trade = TradeData(
                gateway_name="CTP", symbol="rb\udcff", exchange=Exchange.SHFE, orderid=orderid, tradeid="\udcff",
                direction=Direction.LONG, offset=Offset.OPEN, price=1, volume=1, datetime=Clock().now(),
            )  # fmt: skip
            venue.reports.handle(trade)
        front.fill(front.find(venue_order_id), 2)
        await harness.filled(order_id)
        assert total("engine_unreadable_reports_total") == counted + 2
        contracts = (await harness.engine.ListContracts(pb.ListContractsRequest())).instruments
        assert contracts and (await harness.state(gateway="CTP")).complete


def order_of(**words):
    data = OrderData(
        gateway_name="CTP", symbol="rb2701", exchange=Exchange.SHFE, orderid="1_2_3", direction=Direction.LONG,
        offset=Offset.OPEN, price=3100, volume=1, datetime=Clock().now(), status=Status.NOTTRADED,
    )  # fmt: skip
    data.__dict__.update(words)
    return data


@pytest.mark.parametrize(
    "words",
    [{"type": None}, {"offset": None}, {"status": None}, {"volume": None}, {"orderid": 7}, {"datetime": "today"}],
)
async def test_an_order_with_words_that_are_none_holds_up_neither_the_answer_nor_the_next_login(front, tmp_path, words):
    """Gateways look their venue's words up in tables; where one is missing, some give None."""
    async with engine_at(front, tmp_path) as harness:
        order_id, _ = await send(harness)
        await harness.status(order_id, "NEW")
        venue = venue_of(harness)
        gateway = venue._main.get_gateway("CTP")
        counted = total("engine_unreadable_reports_total")
        gateway.on_order(order_of(**words))
        await until(lambda: total("engine_unreadable_reports_total") > counted)
        assert [o.order_id for o in (await harness.state(gateway="CTP")).orders] == [order_id]
        front.disconnect()
        await until(lambda: is_status(harness, pb.GATEWAY_STATUS_CONNECTING))
        front.reconnect()
        await until(lambda: complete(harness))
        venue.begin_day(20270104)


async def test_positions_and_accounts_with_numbers_that_are_none_spoil_the_answer_for_nobody(front, tmp_path):
    """An account is left out; a position that is left out would be taken for flat, so that it has no number."""
    async with engine_at(front, tmp_path) as harness:
        gateway = venue_of(harness)._main.get_gateway("CTP")
        counted = total("engine_unreadable_reports_total")
        position = PositionData(gateway_name="CTP", symbol="x1", exchange=Exchange.SHFE, direction=Direction.LONG)
        position.yd_volume = None
        gateway.on_position(position)
        account = AccountData(gateway_name="CTP", accountid="of none")
        account.balance = None
        gateway.on_account(account)
        await until(lambda: total("engine_unreadable_reports_total") == counted + 2)
        state = await harness.state(gateway="CTP")
        assert ("x1.SHFE", "NaN") in {(p.symbol, p.quantity) for p in state.positions}
        assert "of none" not in {a.venue_account_id for a in state.accounts}
