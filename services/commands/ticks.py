"""`redfire ticks`: live ticks as a table, or as JSON lines."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import click
import grpc
from google.protobuf import json_format
from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub
from redfire.market.v1 import market_pb2
from redfire.market.v1.market_pb2_grpc import MarketServiceStub

from services.commands.data_folder import data_dir_option, read_addresses
from services.kernel.errors import RedFireError
from services.kernel.rpc.status import from_rpc_error


@click.command()
@click.argument("symbols", nargs=-1, required=True, metavar="SYMBOL...")
@data_dir_option
@click.option("--edge", help="The edge's address, host:port; by default the one of the data folder.")
@click.option("--token", envvar="TOKEN", help="An access token; by default the data folder's admin logs in.")
@click.option("--json", "as_json", is_flag=True, help="Print each tick as a line of JSON.")
def ticks(symbols: tuple[str, ...], data_dir: Path, edge: str | None, token: str | None, as_json: bool) -> None:
    """Show live ticks of SYMBOL (for instance rb2701.SHFE) until Ctrl-C."""
    try:
        asyncio.run(_ticks(symbols, data_dir, edge or read_addresses(data_dir)["edge"], token, as_json))
    except grpc.aio.AioRpcError as failure:
        error: RedFireError = from_rpc_error(failure)
        raise error from None


async def _ticks(symbols: tuple[str, ...], data_dir: Path, edge: str, token: str | None, as_json: bool) -> None:
    async with grpc.aio.insecure_channel(edge) as channel:
        if not token:
            password = (data_dir / "admin-password").read_text().strip()
            login = auth_pb2.LoginRequest(username="admin", password=password)
            token = (await AuthServiceStub(channel).Login(login)).access_token
        mode = market_pb2.DELIVERY_MODE_LOSSLESS if as_json else market_pb2.DELIVERY_MODE_CONFLATED
        request = market_pb2.StreamTicksRequest(symbols=symbols, mode=mode)
        request.min_interval.FromMilliseconds(0 if as_json else 200)
        stream = MarketServiceStub(channel).StreamTicks(request, metadata=(("authorization", f"Bearer {token}"),))
        if as_json:
            async for message in stream:
                for tick in message.ticks:
                    click.echo(json_format.MessageToJson(tick, indent=None))
        else:
            await _table(stream)


async def _table(stream: grpc.aio.UnaryStreamCall) -> None:
    from rich.live import Live
    from rich.table import Table

    last: dict[str, market_pb2.Tick] = {}

    def table() -> Table:
        shown = Table("symbol", "time", "last", "bid", "×", "ask", "×", "volume", "open interest")
        for symbol in sorted(last):
            tick = last[symbol]
            bid = (f"{tick.bid_prices[0]:g}", f"{tick.bid_quantities[0]:g}") if tick.bid_prices else ("", "")
            ask = (f"{tick.ask_prices[0]:g}", f"{tick.ask_quantities[0]:g}") if tick.ask_prices else ("", "")
            time = datetime.fromtimestamp(tick.time_ns / 1e9, UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]
            shown.add_row(
                symbol, time, f"{tick.last_price:g}", *bid, *ask, f"{tick.volume:g}", f"{tick.open_interest:g}"
            )
        return shown

    # A refusal comes before there is anything to show.
    messages = aiter(stream)
    await anext(messages, None)
    with Live(table(), refresh_per_second=5, transient=False) as live:
        async for message in messages:
            for tick in message.ticks:
                last[tick.symbol] = tick
            live.update(table())
