"""Small recordings for tests, and where the real one is."""

import gzip
from pathlib import Path

HEADER = (
    "datetime,symbol,exchange,last_price,volume,bid_price_1,bid_volume_1,ask_price_1,ask_volume_1,"
    "limit_up,limit_down,trading_day"
)


def row(second: float, price: float = 5000.0, *, shown: int = 5, symbol: str = "IF2101", day: int = 20210104) -> str:
    whole = int(second)
    time = (
        f"2021-01-04 {9 + (30 + whole // 60) // 60:02d}:{(30 + whole // 60) % 60:02d}:{whole % 60 + second % 1:09.6f}"
    )
    bid, ask = round(price - 0.2, 1), round(price + 0.2, 1)
    return f"{time},{symbol},CFFEX,{price},{whole},{bid},{shown},{ask},{shown},5500,4500,{day}"


def write(path: Path, rows: list[str], *, header: str = HEADER, gzipped: bool = False) -> Path:
    text = "\n".join([header, *rows]) + "\n"
    if gzipped:
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path
