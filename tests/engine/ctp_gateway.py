"""A scripted vnpy gateway that behaves as vnpy_ctp's does: the front's messages become OrderData, TradeData and so on.

It does what vnpy_ctp does, its weaknesses included: order ids are front_session_ref, refs begin anew with each gateway
object and sessions with each login; trades find their order by OrderSysID alone, and one that does not is lost; a
refusal becomes a REJECTED order and its reason a log line; reports wait until the contracts are known; a cut line is
no more than a log line and `td_api.login_status`. Callbacks come on the API's own thread.
"""

import threading
import time
from typing import ClassVar

from vnpy.trader.constant import Direction, Exchange, Offset, OrderType, Product, Status
from vnpy.trader.event import EVENT_TIMER
from vnpy.trader.gateway import BaseGateway
from vnpy.trader.object import AccountData, ContractData, OrderData, PositionData, TickData, TradeData

from tests.engine import ctp_fields as ctp
from tests.engine.ctp_fields import CtpOrder, CtpTrade
from tests.engine.ctp_front import CtpFront, Session

STATUSES = {
    ctp.QUEUEING: Status.NOTTRADED,
    ctp.PART_TRADED: Status.PARTTRADED,
    ctp.ALL_TRADED: Status.ALLTRADED,
    ctp.CANCELED: Status.CANCELLED,
    ctp.UNKNOWN: Status.SUBMITTING,
}
DIRECTIONS = {Direction.LONG: ctp.BUY, Direction.SHORT: ctp.SELL}
OFFSETS = {
    Offset.OPEN: ctp.OPEN,
    Offset.CLOSE: ctp.CLOSE,
    Offset.CLOSETODAY: ctp.CLOSE_TODAY,
    Offset.CLOSEYESTERDAY: ctp.CLOSE_YESTERDAY,
}
TYPES = {
    OrderType.LIMIT: (ctp.LIMIT_PRICE, ctp.GFD, ctp.ANY_VOLUME),
    OrderType.MARKET: (ctp.ANY_PRICE, ctp.GFD, ctp.ANY_VOLUME),
    OrderType.FAK: (ctp.LIMIT_PRICE, ctp.IOC, ctp.ANY_VOLUME),
    OrderType.FOK: (ctp.LIMIT_PRICE, ctp.IOC, ctp.COMPLETE_VOLUME),
}
BACK = [{ours: theirs for theirs, ours in table.items()} for table in (DIRECTIONS, OFFSETS, TYPES)]

FRONTS: dict[str, CtpFront] = {}


class CtpGateway(BaseGateway):
    """The gateway; `front` of its settings names one of FRONTS."""

    default_name = "CTP"
    default_setting: ClassVar = {"front": "", "用户名": "", "密码": ""}
    exchanges: ClassVar = [Exchange.SHFE, Exchange.INE, Exchange.CFFEX, Exchange.DCE, Exchange.CZCE, Exchange.GFEX]

    def __init__(self, event_engine, gateway_name):
        super().__init__(event_engine, gateway_name)
        self.td_api = TdApi(self)
        self.subscribed = set()
        self.count = 0

    def connect(self, setting):
        self.td_api.connect(FRONTS[setting["front"]])
        self.queries = [self.query_account, self.query_position]
        self.event_engine.register(EVENT_TIMER, self.on_timer)

    def on_timer(self, event):
        assert not self.td_api.closed.is_set(), "a closed gateway of vnpy_ctp would crash"
        self.count += 1
        if self.count >= 2:
            self.count = 0
            query = self.queries.pop(0)
            query()
            self.queries.append(query)

    def close(self):
        self.td_api.close()

    def subscribe(self, req):
        self.subscribed.add(req.symbol)

    def send_order(self, req):
        return self.td_api.send_order(req)

    def cancel_order(self, req):
        self.td_api.cancel_order(req)

    def query_account(self):
        self.td_api.query("account")

    def query_position(self):
        if self.td_api.contracts:
            self.td_api.query("positions")

    def write_error(self, what, error):
        self.write_log(f"{what}，代码：{error['ErrorID']}，信息：{error['ErrorMsg']}")


class TdApi:
    """The trader API with vnpy's callbacks."""

    def __init__(self, gateway):
        self.gateway = gateway
        self.name = gateway.gateway_name
        self.front: CtpFront | None = None
        self.session: Session | None = None
        self.order_ref = 0
        self.login_status = False
        self.contract_inited = False
        self.contracts: dict[str, ContractData] = {}
        self.early: list[tuple[str, object]] = []
        self.orderid_of_sysid: dict[str, str] = {}
        self.closed = threading.Event()

    # Requests

    def connect(self, front):
        self.front = front
        threading.Thread(target=self.run, name=f"ctp-{self.name}", daemon=True).start()

    def close(self):
        self.closed.set()
        if self.session is not None:
            self.session.events.put(("closed", None))

    def query(self, kind):
        return self.front.query(self.session, kind) if self.session is not None else -1

    def send_order(self, req):
        if req.type not in TYPES or req.offset not in OFFSETS:
            self.gateway.write_log(f"当前接口不支持该类型的委托{req.type.value}")
            return ""
        self.order_ref += 1
        session = self.session
        ids = (session.front_id, session.session_id) if session is not None else (0, 0)
        order = CtpOrder(
            *ids, str(self.order_ref), req.symbol, req.exchange.value, DIRECTIONS[req.direction], OFFSETS[req.offset],
            req.price, int(req.volume), *TYPES[req.type],
        )  # fmt: skip
        sent = self.front.insert(session, order) if session is not None else -1
        self.front.answers.wait(30)
        if sent:
            self.gateway.write_log(f"委托请求发送失败，错误代码：{sent}")
            return ""
        data = req.create_order_data(f"{ids[0]}_{ids[1]}_{self.order_ref}", self.name)
        data.reference = ""
        self.gateway.on_order(data)
        return data.vt_orderid

    def cancel_order(self, req):
        front_id, session_id, ref = req.orderid.split("_")
        self.front.cancel(self.session, (int(front_id), int(session_id), ref))

    # Callbacks, on the API's thread

    def run(self):
        while not self.closed.is_set():
            session = self.front.connect()
            if session is None:
                time.sleep(0.01)
                continue
            self.session = session
            self.gateway.write_log("交易服务器连接成功")
            self.front.login(session)
            while (event := session.events.get())[0] not in ("disconnected", "closed"):
                try:
                    getattr(self, f"on_{event[0]}")(event[1])
                except KeyError as error:  # the C++ side swallows what a callback raises
                    self.gateway.write_log(f"callback {event[0]}: KeyError {error}")
            self.login_status = False
            if event[0] == "disconnected":
                self.gateway.write_log(f"交易服务器连接断开，原因{event[1]}")

    def on_login(self, data):
        self.login_status = True
        self.gateway.write_log("交易服务器登录成功")
        self.front.confirm_settlement(self.session)

    def on_confirmed(self, _):
        self.gateway.write_log("结算信息确认成功")
        while self.query("instruments") == -3 and not self.closed.is_set():
            time.sleep(0.01)  # vnpy_ctp waits a second

    def on_instruments(self, answer):
        for instrument in answer():
            contract = ContractData(
                gateway_name=self.name, symbol=instrument.symbol, exchange=Exchange(instrument.exchange),
                name=ctp.garble("螺纹钢") if self.front.garbled else instrument.symbol, product=Product.FUTURES,
                size=instrument.size, pricetick=instrument.tick,
            )  # fmt: skip
            self.gateway.on_contract(contract)
            self.contracts[instrument.symbol] = contract
        self.contract_inited = True
        self.gateway.write_log("合约信息查询成功")
        early, self.early = self.early, []
        for kind in ("order", "trade"):
            for item in [item for which, item in early if which == kind]:
                getattr(self, f"on_{kind}")(item)

    def on_order(self, order: CtpOrder):
        if not self.contract_inited:
            self.early.append(("order", order))
            return
        orderid = f"{order.front_id}_{order.session_id}_{order.ref}"
        directions, offsets, types = BACK
        self.gateway.on_order(
            OrderData(
                gateway_name=self.name,
                symbol=order.symbol,
                exchange=self.contracts[order.symbol].exchange,
                orderid=orderid,
                type=types[order.price_type, order.time_condition, order.volume_condition],
                direction=directions[order.direction],
                offset=offsets[order.offset],
                price=order.price,
                volume=order.volume,
                traded=order.traded,
                status=STATUSES[order.status],
                datetime=ctp.parse_time(order.date, order.time),
            )
        )
        self.orderid_of_sysid[order.sys_id] = orderid

    def on_trade(self, trade: CtpTrade):
        if not self.contract_inited:
            self.early.append(("trade", trade))
            return
        directions, offsets, _ = BACK
        self.gateway.on_trade(
            TradeData(
                gateway_name=self.name,
                symbol=trade.symbol,
                exchange=self.contracts[trade.symbol].exchange,
                orderid=self.orderid_of_sysid[trade.sys_id],
                tradeid=trade.trade_id,
                direction=directions[trade.direction],
                offset=offsets[trade.offset],
                price=trade.price,
                volume=trade.volume,
                datetime=ctp.parse_time(trade.date, trade.time),
            )
        )

    def on_insert_error(self, answer):
        order, error = answer
        directions, offsets, _ = BACK
        self.gateway.on_order(
            OrderData(
                gateway_name=self.name,
                symbol=order.symbol,
                exchange=self.contracts[order.symbol].exchange,
                orderid=f"{self.session.front_id}_{self.session.session_id}_{order.ref}",
                direction=directions[order.direction],
                offset=offsets[order.offset],
                price=order.price,
                volume=order.volume,
                status=Status.REJECTED,
            )
        )
        self.gateway.write_error("交易委托失败", error)

    def on_cancel_error(self, error):
        self.gateway.write_error("交易撤单失败", error)

    def on_account(self, data):
        account = AccountData(
            gateway_name=self.name, accountid=data["AccountID"], balance=data["Balance"],
            frozen=data["FrozenMargin"] + data["FrozenCash"] + data["FrozenCommission"],
        )  # fmt: skip
        account.available = data["Available"]
        self.gateway.on_account(account)

    def on_positions(self, rows):
        positions: dict[tuple[str, str], PositionData] = {}
        for row in rows:
            contract = self.contracts.get(row["InstrumentID"])
            if contract is None:
                continue
            key = row["InstrumentID"], row["PosiDirection"]
            if key not in positions:
                direction = Direction.LONG if row["PosiDirection"] == "2" else Direction.SHORT
                positions[key] = PositionData(
                    gateway_name=self.name, symbol=contract.symbol, exchange=contract.exchange, direction=direction
                )
            position = positions[key]
            if contract.exchange in (Exchange.SHFE, Exchange.INE):
                if row["YdPosition"] and not row["TodayPosition"]:
                    position.yd_volume = row["Position"]
            else:
                position.yd_volume = row["Position"] - row["TodayPosition"]
            cost = position.price * position.volume * contract.size + row["PositionCost"]
            position.volume += row["Position"]
            if position.volume:
                position.price = cost / (position.volume * contract.size)
        for position in positions.values():
            self.gateway.on_position(position)

    def on_tick(self, item):
        symbol, bid, bid_volume, ask, ask_volume, local = item
        if symbol in self.contracts and symbol in self.gateway.subscribed:
            self.gateway.on_tick(
                TickData(
                    gateway_name=self.name,
                    symbol=symbol,
                    exchange=self.contracts[symbol].exchange,
                    datetime=local,
                    last_price=bid,
                    bid_price_1=bid,
                    bid_volume_1=bid_volume,
                    ask_price_1=ask,
                    ask_volume_1=ask_volume,
                    limit_up=round(bid * 1.1),
                    limit_down=round(bid * 0.9),
                    pre_close=bid,
                )
            )
