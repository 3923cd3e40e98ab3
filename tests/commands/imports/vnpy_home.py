"""A vnpy user's folder, written by vnpy itself."""

import json
import subprocess
import sys
from pathlib import Path

STRATEGIES = {
    "double": {
        "class_name": "DoubleMaStrategy",
        "vt_symbol": "rb2701.SHFE",
        "setting": {"class_name": "DoubleMaStrategy", "fast_window": 7, "slow_window": 21},
    },
    "lost": {"class_name": "MyOwnStrategy", "vt_symbol": "rb2701.SHFE", "setting": {"x": 1}},
}
VARIABLES = {"double": {"pos": 2, "fast_ma0": 3511.5, "slow_ma0": 3500.25}, "gone": {"pos": 1}}
CONNECT = {
    "用户名": "081234",
    "密码": "hunter2",
    "经纪商代码": "9999",
    "授权编码": "0000000000000000",
    "产品名称": "simnow",
}
SETTINGS = {
    "font.size": 12,
    "email.server": "smtp.example.com",
    "email.password": "mailpass",
    "database.name": "sqlite",
}
BARS, TICKS = 700, 300

# Runs where vnpy keeps its things: it looks for .vntrader when it is imported.
_WRITE = """
import json, sys
from datetime import datetime, timedelta
from vnpy.trader.constant import Exchange, Interval
from vnpy.trader.database import DB_TZ
from vnpy.trader.object import BarData, TickData
from vnpy.trader.utility import save_json
from vnpy_sqlite import Database

content = json.load(sys.stdin)
for name, document in content["files"].items():
    save_json(name, document)
database = Database()
start = datetime(2024, 3, 4, 9, 0, tzinfo=DB_TZ)
common = dict(gateway_name="DB", symbol="rb2410", exchange=Exchange.SHFE)
bars, moment = [], start
while len(bars) < content["bars"]:
    if 9 <= moment.hour < 15 and moment.weekday() < 5:
        price = 3500 + len(bars) % 97
        bars.append(BarData(**common, datetime=moment, interval=Interval.MINUTE, volume=len(bars), turnover=1.5,
                            open_interest=9, open_price=price, high_price=price + 2, low_price=price - 2,
                            close_price=price + 1))
    moment += timedelta(minutes=1)
database.save_bar_data(bars)
weekly = BarData(**common, datetime=start, interval=Interval.WEEKLY, open_price=1, close_price=1)
database.save_bar_data([weekly])
ticks = [
    TickData(**common, datetime=start + timedelta(milliseconds=500 * n), volume=n, last_price=3500 + n % 7,
             limit_up=3900, limit_down=3100, bid_price_1=3499 + n % 7, ask_price_1=3501 + n % 7,
             bid_volume_1=3, ask_volume_1=4)
    for n in range(content["ticks"])
]
database.save_tick_data(ticks)
"""


def make(folder: Path, timezone: str = "Asia/Shanghai") -> Path:
    """Write the folder's `.vntrader` and answer the folder."""
    (folder / ".vntrader").mkdir(parents=True)
    files = {
        "cta_strategy_setting.json": STRATEGIES,
        "cta_strategy_data.json": VARIABLES,
        "connect_ctp.json": CONNECT,
        "vt_setting.json": {**SETTINGS, "database.timezone": timezone},
    }
    (folder / ".vntrader" / "vt_setting.json").write_text(json.dumps(files["vt_setting.json"]))
    content = json.dumps({"files": files, "bars": BARS, "ticks": TICKS})
    subprocess.run([sys.executable, "-c", _WRITE], cwd=folder, input=content, text=True, check=True, timeout=120)
    (folder / "strategies").mkdir()
    (folder / "strategies" / "my_own_strategy.py").write_text("class MyOwnStrategy: ...\n")
    return folder
