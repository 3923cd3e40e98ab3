"""Output of `redfire up`: addresses, the demo's credentials and commands, then one quiet status line."""

import asyncio
import contextlib
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from pathlib import Path

import click
import grpc
from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub
from redfire.strategy.v1 import strategy_pb2
from redfire.strategy.v1.strategy_pb2_grpc import StrategyServiceStub
from redfire.trading.v1 import account_service_pb2
from redfire.trading.v1.account_service_pb2_grpc import AccountServiceStub
from redfire.user.v1 import user_pb2
from redfire.user.v1.user_pb2_grpc import UserServiceStub

from services.kernel.atomic_file import PRIVATE, write_atomically

DEMO_USER = "demo"
DEMO_SYMBOL = "rb2701.SHFE"
DEMO_CLASS = "MovingAverageStrategy"
REFRESH_S = 1.0
# A login is good for 24 h; the demo's is renewed well before.
RENEW_S = 6 * 3600
COUNTERS = ("market_ticks_total", "orders_total", "trades_total")
Totals = Callable[[Sequence[str]], Awaitable[Sequence[float]]]


class Terminal:
    """The terminal of a running platform."""

    def __init__(self, address: str, edge: str, data_dir: Path, totals: Totals) -> None:
        """`address` serves gRPC; `totals` reads counters by their names."""
        self._edge = edge
        self._data_dir = data_dir
        self._totals = totals
        self._channel = grpc.aio.insecure_channel(address)
        self._token = ""  # nosec B105
        self._line = sys.stdout.isatty()

    def show_start(self, url: str, new_admin: bool) -> None:
        """Show the edge's address; the administrator's password once."""
        click.echo(f"RedFire is up: {url} (REST, gRPC and gRPC-Web), data in {self._data_dir}")
        password_file = self._data_dir / "admin-password"
        # Databases on a server may have an administrator that another data folder knows of.
        if new_admin and password_file.exists():
            where = f"{self._data_dir}/{password_file.name}"
            if self._line:
                click.echo(f"  administrator: admin / {password_file.read_text().strip()} (kept in {where})")
            else:
                # Output that is no terminal is a file or a journal, which others read.
                click.echo(f"  administrator: admin, whose password is in {where}")

    async def start_demo(self) -> None:
        """The demo user with its strategy, made at the first start; and three commands to paste."""
        password_file = self._data_dir / "demo-password"
        if not password_file.exists():
            write_atomically(password_file, secrets.token_urlsafe(12).encode(), mode=PRIVATE)
        password = password_file.read_text().strip()
        await self._register(password)
        await self._login(password)
        await self._start_strategy()
        header = f'"authorization: Bearer $(cat {self._data_dir}/demo-token)"'
        order = (
            f'{{"clientOrderId":"first-1","symbol":"{DEMO_SYMBOL}","side":"SIDE_BUY","type":"ORDER_TYPE_MARKET",'
            '"quantity":"1"}'
        )
        shown = password if self._line else f"password in {password_file}"
        click.echo(
            f"  demo user: {DEMO_USER} / {shown}; its {DEMO_CLASS} trades {DEMO_SYMBOL}\n"
            "  ticks:\n"
            f"    curl -N -H {header} 'http://{self._edge}/api/market/ticks:stream?symbols={DEMO_SYMBOL}'\n"
            "  an order:\n"
            f"    curl -H {header} -H 'content-type: application/json' "
            f"http://{self._edge}/api/trading/orders -d '{order}'\n"
            "  grpcurl:\n"
            f"    grpcurl -plaintext -H {header} {self._edge} redfire.trading.v1.AccountService/GetAccount"
        )

    async def run(self) -> None:
        """Refresh the status line until cancelled."""
        renewed = shown = time.monotonic()
        ticks_before = 0.0
        while True:
            await asyncio.sleep(REFRESH_S)
            now = time.monotonic()
            if self._token and now - renewed > RENEW_S:
                renewed = now
                await self._login((self._data_dir / "demo-password").read_text().strip())
            if self._line:
                ticks, orders, trades = await self._totals(COUNTERS)
                rate = max(ticks - ticks_before, 0.0) / (now - shown) if ticks_before else 0.0
                shown, ticks_before = now, ticks
                await self._show(rate, orders, trades)

    async def close(self) -> None:
        """End the line."""
        if self._line:
            click.echo("\r\x1b[2KStopping …")
        await self._channel.close()

    async def _show(self, rate: float, orders: float, trades: float) -> None:
        text = f"{rate:6.0f} ticks/s   {orders:.0f} orders   {trades:.0f} trades"
        if self._token:
            with contextlib.suppress(grpc.aio.AioRpcError):
                text += f"   demo P&L {await self._profit():+,.2f} CNY"
        click.echo(f"\r\x1b[2K{text}", nl=False)

    async def _profit(self) -> Decimal:
        stub = AccountServiceStub(self._channel)
        request = account_service_pb2.GetAccountRequest()
        account = (await stub.GetAccount(request, metadata=self._metadata(), timeout=2)).account
        return Decimal(account.realized_pnl) + Decimal(account.unrealized_pnl) - Decimal(account.commission)

    async def _register(self, password: str) -> None:
        request = user_pb2.RegisterUserRequest(
            username=DEMO_USER, email="demo@example.com", password=password, display_name="Demo"
        )
        try:
            await UserServiceStub(self._channel).RegisterUser(request, timeout=10)
        except grpc.aio.AioRpcError as failure:
            if failure.code() is not grpc.StatusCode.ALREADY_EXISTS:
                raise

    async def _login(self, password: str) -> None:
        request = auth_pb2.LoginRequest(username=DEMO_USER, password=password)
        self._token = (await AuthServiceStub(self._channel).Login(request, timeout=10)).access_token
        write_atomically(self._data_dir / "demo-token", self._token.encode(), mode=PRIVATE)

    async def _start_strategy(self) -> None:
        stub = StrategyServiceStub(self._channel)
        metadata = self._metadata()
        request = strategy_pb2.ListStrategiesRequest(class_name=DEMO_CLASS)
        if (await stub.ListStrategies(request, metadata=metadata, timeout=5)).strategies:
            return
        await self._until_class_is_known(stub)
        made = await stub.CreateStrategy(
            strategy_pb2.CreateStrategyRequest(
                display_name="Demo", class_name=DEMO_CLASS, symbol=DEMO_SYMBOL, request_id="demo"
            ),
            metadata=metadata,
            timeout=5,
        )
        start = strategy_pb2.StartStrategyRequest(strategy_id=made.strategy.strategy_id)
        await stub.StartStrategy(start, metadata=metadata, timeout=10)

    async def _until_class_is_known(self, stub: StrategyServiceStub) -> None:
        """Retry: the worker reports its classes some moments after the start, and so does trading the new account."""
        request = strategy_pb2.ListStrategyClassesRequest()
        for _ in range(300):
            try:
                classes = (await stub.ListStrategyClasses(request, metadata=self._metadata(), timeout=10)).classes
                accounts = await AccountServiceStub(self._channel).ListAccounts(
                    account_service_pb2.ListAccountsRequest(), metadata=self._metadata(), timeout=10
                )
            except grpc.aio.AioRpcError as failure:
                # On a slow machine the first worker takes longer to import all classes than the call may last.
                if failure.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                    raise
                continue
            if any(c.name == DEMO_CLASS for c in classes) and accounts.accounts:
                return
            await asyncio.sleep(0.1)

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self._token}"),)
