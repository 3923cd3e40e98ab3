"""One symbol, one gateway: prices of two gateways never come under one symbol, and orders go where the prices are."""

import asyncio
from decimal import Decimal

import grpc
import pytest
from redfire.common.v1 import common_pb2 as common
from redfire.common.v1 import error_reason_pb2 as reasons
from redfire.engine.v1 import engine_pb2 as pb

from services.kernel.errors import StartError
from services.kernel.rpc.telemetry import total
from tests.engine.ctp_fields import RB
from tests.engine.ctp_front import CtpFront
from tests.engine.ctp_gateway import FRONTS
from tests.engine.running import CTP, complete, connected, engine_at, reason_of, running_engine
from tests.waiting import until

SYMBOL = RB.vt_symbol


def gateway(name="tcp://front"):
    return {"module": CTP, "class": "CtpGateway", "setting": {"front": name}}


def ticks(harness, symbol=SYMBOL):
    return [tick for tick in harness.ticks if tick.symbol == symbol]


async def listed_at(harness, symbol=SYMBOL):
    contracts = (await harness.engine.ListContracts(pb.ListContractsRequest())).instruments
    return [contract.gateway_name for contract in contracts if contract.symbol == symbol]


async def serves(harness, name) -> bool:
    return await listed_at(harness) == [name]


async def settled(harness, *names) -> bool:
    """The gateways have sent their state."""
    return all([(await harness.state(gateway=name)).complete for name in names])


async def test_a_real_gateways_symbol_has_its_prices_alone_and_sim_serves_it_no_more(front, tmp_path):
    async with engine_at(front, tmp_path, sim_ticks_per_second=100) as harness:
        assert await listed_at(harness) == ["CTP"]
        await harness.engine.Subscribe(pb.SubscribeRequest(symbols=[SYMBOL]))
        before = len(harness.ticks)

        def quoted():
            front.quote("rb2701", 9998.0, 9999.0)
            return len(harness.ticks) > before + 500 and [t for t in ticks(harness) if t.last_price == 9998.0]

        assert await until(quoted)
        of_real = [place for place, tick in enumerate(ticks(harness)) if tick.gateway == "CTP"]
        assert of_real == list(range(of_real[0], len(ticks(harness))))  # and not one of SIM's after it
        assert {tick.gateway for tick in harness.ticks if tick.symbol == "IF2612.CFFEX"} == {"SIM"}
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await harness.send(symbol=SYMBOL, price="3100")
        assert reason_of(caught.value) == "SYMBOL_AT_OTHER_GATEWAY"
        # One sequence for the symbol, with no number left out.
        sequences = [tick.sequence for tick in ticks(harness)]
        assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))


async def test_a_real_gateway_that_comes_late_takes_the_symbol_over_cleanly(front, tmp_path):
    front.instruments_ready.clear()
    async with engine_at(front, tmp_path, ready=False, sim_ticks_per_second=100) as harness:
        await until(lambda: ticks(harness))
        bid = ticks(harness)[-1].bid_prices[0]
        order_id, _ = await harness.send(symbol=SYMBOL, price=str(Decimal(str(bid)) - 100), tif="GTC")
        await harness.status(order_id, "NEW")
        front.instruments_ready.set()
        ended = await harness.status(order_id, "CANCELED")
        assert ended.reason == reasons.SYMBOL_AT_OTHER_GATEWAY
        assert await listed_at(harness) == ["CTP"]
        await until(lambda: complete(harness))
        seen, others = len(ticks(harness)), len(harness.ticks)
        await until(lambda: len(harness.ticks) > others + 200)
        assert len(ticks(harness)) == seen
    front.instruments_ready.clear()
    # After a restart SIM does not begin with it while the real gateway is on its way.
    async with engine_at(front, tmp_path, ready=False, sim_ticks_per_second=100) as harness:
        await until(lambda: len(harness.ticks) > 300)
        assert not ticks(harness) and await listed_at(harness) == []
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await harness.send(symbol=SYMBOL, price="3100")
        assert reason_of(caught.value) == "SYMBOL_AT_OTHER_GATEWAY"


async def test_ticks_asked_for_once_come_from_whichever_gateway_serves_the_symbol(front, tmp_path):
    front.instruments_ready.clear()

    def quoted():
        front.quote("rb2701", 9998.0, 9999.0)
        return [tick for tick in ticks(harness)[seen:] if tick.gateway == "CTP"]

    async with engine_at(front, tmp_path, ready=False) as harness:
        await until(lambda: ticks(harness))
        await harness.engine.Subscribe(pb.SubscribeRequest(symbols=[SYMBOL]))  # SIM's, by now
        front.instruments_ready.set()
        await until(lambda: complete(harness))
        seen = 0
        await until(quoted)
        name = {"gateway_name": "CTP"}
        await harness.admin.DisconnectGateway(pb.DisconnectGatewayRequest(**name))
        await harness.admin.ConnectGateway(pb.ConnectGatewayRequest(**name))  # another object of the gateway's class
        await until(lambda: complete(harness))
        seen = len(ticks(harness))
        await until(quoted)


async def test_the_setting_decides_whatever_comes_first(front, tmp_path):
    primary = {"rb*.SHFE": "SIM", SYMBOL: "SIM", "*.INE": "OTHER"}
    gateways = {"CTP": gateway(), "OTHER": gateway()}
    dropped = total("engine_foreign_ticks_total")
    async with running_engine(tmp_path, gateways=gateways, primary_gateways=primary, settle_s=0.05) as harness:
        for name in gateways:
            await until(lambda name=name: connected(harness, name))
        assert await listed_at(harness) == ["SIM"]
        assert await listed_at(harness, "sc2701.INE") == ["OTHER"]
        assert await listed_at(harness, "m2701.DCE") == ["CTP"]  # of real gateways the first by name
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await harness.send(gateway="CTP", symbol=SYMBOL, price="3100")
        assert reason_of(caught.value) == "SYMBOL_AT_OTHER_GATEWAY"
        order_id, _ = await harness.send(symbol=SYMBOL)
        await harness.status(order_id, "FILLED")
        api = next(iter(front.sessions))
        assert api is not None
        await harness.engine.Subscribe(pb.SubscribeRequest(symbols=["m2701.DCE", "sc2701.INE"]))

        def quoted():
            for symbol in ("m2701", "sc2701"):
                front.quote(symbol, 500.0, 501.0)
            return ticks(harness, "m2701.DCE") and ticks(harness, "sc2701.INE")

        await until(quoted)
        assert {t.gateway for t in ticks(harness, "m2701.DCE") if t.last_price == 500.0} == {"CTP"}
        assert {t.gateway for t in ticks(harness, "sc2701.INE") if t.last_price == 500.0} == {"OTHER"}
    assert total("engine_foreign_ticks_total") >= dropped


@pytest.fixture
def other_front():
    """Another broker's CTP front, at tcp://other."""
    FRONTS["tcp://other"] = made = CtpFront()
    yield made
    made.instruments_ready.set()
    del FRONTS["tcp://other"]


async def refused_at(harness, name):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await harness.send(gateway=name, symbol=SYMBOL, price="3100")
    return reason_of(caught.value)


async def test_of_two_real_gateways_the_one_that_had_the_symbol_before_a_restart_has_it_again(
    front, other_front, tmp_path, caplog
):
    gateways = {"ALPHA": gateway(), "BETA": gateway("tcp://other")}
    async with running_engine(tmp_path, gateways=gateways, settle_s=0.05) as harness:
        await until(lambda: serves(harness, "ALPHA"))
        assert await refused_at(harness, "BETA") == "SYMBOL_AT_OTHER_GATEWAY"
        await until(lambda: settled(harness, *gateways))
    front.instruments_ready.clear()
    async with running_engine(tmp_path, gateways=gateways, settle_s=0.05) as harness:
        await until(lambda: settled(harness, "BETA"))
        # It is nobody's to trade while the one that had it is away.
        assert await listed_at(harness) == []
        assert await refused_at(harness, "BETA") == "SYMBOL_AT_OTHER_GATEWAY"
        assert "traded at gateway ALPHA" in caplog.text
        front.instruments_ready.set()
        await until(lambda: serves(harness, "ALPHA"))
        assert await refused_at(harness, "BETA") == "SYMBOL_AT_OTHER_GATEWAY"


async def test_a_gateway_that_is_added_does_not_take_the_symbols_of_another(front, other_front, tmp_path):
    gateways = {"BETA": gateway("tcp://other")}
    async with running_engine(tmp_path, gateways=gateways, settle_s=0.05) as harness:
        await until(lambda: serves(harness, "BETA"))
        await until(lambda: settled(harness, "BETA"))
    gateways["ALPHA"] = gateway()
    async with running_engine(tmp_path, gateways=gateways, settle_s=0.05) as harness:
        await until(lambda: settled(harness, *gateways))
        assert await listed_at(harness) == ["BETA"]
        assert await refused_at(harness, "ALPHA") == "SYMBOL_AT_OTHER_GATEWAY"
    # The setting goes before what was, and its choice holds after it.
    for primary in ({SYMBOL: "ALPHA"}, {}):
        async with running_engine(tmp_path, gateways=gateways, settle_s=0.05, primary_gateways=primary) as harness:
            await until(lambda: settled(harness, *gateways))
            assert await listed_at(harness) == ["ALPHA"]
            assert await listed_at(harness, "m2701.DCE") == ["BETA"]


async def test_a_primary_gateway_that_there_is_not_stops_the_start(tmp_path):
    with pytest.raises(StartError, match="there is no gateway CTP9"):
        async with running_engine(tmp_path, primary_gateways={SYMBOL: "CTP9"}):
            pass


async def test_a_post_only_order_ends_without_a_trade_where_it_would_have_traded(tmp_path):
    async with running_engine(tmp_path, follow=True) as harness:
        await until(lambda: ticks(harness))

        async def post(price):
            request = pb.SendOrderRequest(
                gateway_name="SIM", order_id=(order_id := f"o{price}"), symbol=SYMBOL, side=common.SIDE_BUY,
                type=common.ORDER_TYPE_LIMIT, time_in_force=common.TIME_IN_FORCE_DAY, quantity="1", price=str(price),
                post_only=True,
            )  # fmt: skip
            await harness.engine.SendOrder(request)
            return order_id

        ask = ticks(harness)[-1].ask_prices[0]
        taking = await post(int(ask + 30))
        assert (await harness.status(taking, "CANCELED")).reason == reasons.POST_ONLY_WOULD_TRADE
        resting = await post(int(ask - 100))
        await harness.status(resting, "NEW")
        amend = pb.AmendOrderRequest(gateway_name="SIM", order_id=resting, price=str(int(ask + 30)))
        await harness.engine.AmendOrder(amend)
        await until(lambda: harness.updates(resting)[-1].amend_rejected)
        assert harness.updates(resting)[-1].reason == reasons.POST_ONLY_WOULD_TRADE
        await asyncio.sleep(0)
        assert not harness.trades(taking) and not harness.trades(resting)
