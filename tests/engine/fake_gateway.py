"""A small gateway of a third party, as other packages bring them: it knows no RedFire."""

import threading
from datetime import datetime
from typing import ClassVar

from vnpy.trader.constant import Exchange, Product, Status
from vnpy.trader.gateway import BaseGateway
from vnpy.trader.object import AccountData, ContractData, OrderData, TickData, TradeData


class FakeGateway(BaseGateway):
    default_name = "FAKE"
    default_setting: ClassVar = {"front": "", "mood": "good", "words": "wrong password"}
    exchanges: ClassVar = [Exchange.INE]
    sent: ClassVar[list] = []
    canceled: ClassVar[list] = []
    mood = ""
    hold: ClassVar = threading.Event()
    gate: ClassVar = None  # of the next connect, which waits for it
    send_gate: ClassVar = None  # of the next order

    def connect(self, setting):
        self.mood = setting["mood"]
        gate, FakeGateway.gate = FakeGateway.gate, None
        if gate is not None:
            gate.wait(30)
            return
        if setting["mood"] == "hanging":
            self.hold.wait(30)
            return
        if setting["mood"] == "angry":
            raise RuntimeError(setting["words"])
        if setting["mood"] == "silent":
            self.write_log(f"connecting to {setting['front']}")
            return
        self.on_contract(
            ContractData(
                gateway_name=self.gateway_name,
                symbol="sc2701",
                exchange=Exchange.INE,
                name="Crude oil",
                product=Product.FUTURES,
                size=1000,
                pricetick=0.1,
            )
        )
        self.on_account(AccountData(gateway_name=self.gateway_name, accountid="1", balance=1e6))

    def close(self):
        if self.mood == "sour":
            raise RuntimeError("there is nothing to close")

    def subscribe(self, req):
        tick = TickData(
            gateway_name=self.gateway_name,
            symbol=req.symbol,
            exchange=req.exchange,
            datetime=datetime.now().astimezone(),
            last_price=500.1,
            bid_price_1=500.0,
            bid_volume_1=3,
        )
        self.on_tick(tick)

    def send_order(self, req):
        gate, FakeGateway.send_gate = FakeGateway.send_gate, None
        if gate is not None:
            gate.wait(30)
        if req.volume > 100:
            return ""
        self.sent.append(req)
        order = req.create_order_data(f"1_2_{len(self.sent)}", self.gateway_name)
        order.reference = ""
        order.status = Status.NOTTRADED
        self.on_order(order)
        if req.volume == 1:
            self.on_trade(
                TradeData(
                    gateway_name=self.gateway_name,
                    symbol=req.symbol,
                    exchange=req.exchange,
                    orderid=order.orderid,
                    tradeid=f"t{len(self.sent)}",
                    direction=req.direction,
                    offset=req.offset,
                    price=req.price,
                    volume=1,
                    datetime=datetime.now().astimezone(),
                )
            )
            done = OrderData(
                **{k: v for k, v in order.__dict__.items() if k not in ("vt_symbol", "vt_orderid", "extra")}
            )
            done.status, done.traded = Status.ALLTRADED, 1
            self.on_order(done)
        return order.vt_orderid

    def cancel_order(self, req):
        self.canceled.append(req.orderid)

    def query_account(self):
        pass

    def query_position(self):
        pass
