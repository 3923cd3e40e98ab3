"""CTP's numbers and names, and what its front keeps of instruments, orders, trades and positions.

Errors of its error.xml, order status characters, offset flags, disconnect reasons.
"""

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

SHANGHAI = ZoneInfo("Asia/Shanghai")
NETWORK_READ_FAILED = 0x1001

ERRORS = {
    3: "CTP:不合法的登录",
    7: "CTP:还没有初始化",
    16: "CTP:找不到合约",
    22: "CTP:报单错误：不允许重复报单",
    25: "CTP:撤单找不到相应报单",
    26: "CTP:报单已全成交或已撤销，不能再撤",
    30: "CTP:平仓量超过持仓量",
    31: "CTP:资金不足",
    42: "CTP:结算结果未确认",
    50: "CTP:平今仓位不足",
    51: "CTP:平昨仓位不足",
    90: "CTP:查询未就绪，请稍后重试",
}
BUY, SELL = "0", "1"
OPEN, CLOSE, CLOSE_TODAY, CLOSE_YESTERDAY = "0", "1", "3", "4"
ALL_TRADED, PART_TRADED, QUEUEING, CANCELED, UNKNOWN = "0", "1", "3", "5", "a"
LIMIT_PRICE, ANY_PRICE = "2", "1"
IOC, GFD = "1", "3"
ANY_VOLUME, COMPLETE_VOLUME = "1", "3"


@dataclass(frozen=True)
class Instrument:
    """A contract."""

    symbol: str
    exchange: str
    size: int
    tick: float
    margin: float = 0.1

    @property
    def vt_symbol(self) -> str:
        return f"{self.symbol}.{self.exchange}"


RB = Instrument("rb2701", "SHFE", 10, 1.0)
SC = Instrument("sc2701", "INE", 1000, 0.1)
M = Instrument("m2701", "DCE", 10, 1.0)


@dataclass
class CtpOrder:
    """An order as the front keeps it."""

    front_id: int
    session_id: int
    ref: str
    symbol: str
    exchange: str
    direction: str
    offset: str
    price: float
    volume: int
    price_type: str = LIMIT_PRICE
    time_condition: str = GFD
    volume_condition: str = ANY_VOLUME
    sys_id: str = ""
    traded: int = 0
    status: str = UNKNOWN
    message: str = ""
    date: str = ""
    time: str = ""

    @property
    def key(self) -> tuple[int, int, str]:
        return self.front_id, self.session_id, self.ref

    @property
    def open(self) -> bool:
        return self.status in (UNKNOWN, PART_TRADED, QUEUEING)

    @property
    def left(self) -> int:
        return self.volume - self.traded


@dataclass(frozen=True)
class CtpTrade:
    """A fill as the front keeps it."""

    trade_id: str
    sys_id: str
    symbol: str
    exchange: str
    direction: str
    offset: str
    price: float
    volume: int
    date: str
    time: str
    trading_day: int


@dataclass
class Holding:
    """A position's detail."""

    today: int = 0
    yesterday: int = 0
    frozen_today: int = 0
    frozen_yesterday: int = 0
    cost: float = 0.0


def garble(text: str) -> str:
    """GBK that somebody took for UTF-8."""
    return text.encode("gbk").decode("utf-8", "surrogateescape")


def at(text: str) -> datetime:
    """A time in Shanghai: `at("2026-11-26 20:45")`."""
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)


def parse_time(date: str, time: str) -> datetime:
    """CTP's date and time in Shanghai."""
    return datetime.strptime(f"{date} {time}", "%Y%m%d %H:%M:%S").replace(tzinfo=SHANGHAI)
