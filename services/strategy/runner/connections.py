"""The worker's connections to the platform: plain gRPC over the network, as any client of it."""

import asyncio
from typing import Any

import grpc
from redfire.market.v1 import market_pb2
from redfire.market.v1.market_pb2_grpc import MarketServiceStub
from redfire.strategy.v1.worker_pb2_grpc import WorkerServiceStub
from redfire.trading.v1.account_service_pb2_grpc import AccountServiceStub
from redfire.trading.v1.order_service_pb2_grpc import OrderServiceStub

from services.kernel.rpc.client import CHANNEL_OPTIONS
from services.kernel.rpc.tls import PLAIN, PeerTls

Metadata = tuple[tuple[str, str], ...]


class Access:
    """A strategy's token to act for its owner; replaced before it ends."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._renewed = asyncio.Event()

    @property
    def metadata(self) -> Metadata:
        """The metadata of each call."""
        return (("authorization", f"Bearer {self._token}"),)

    def renew(self, token: str) -> None:
        """A new token came."""
        self._token = token
        self._renewed.set()

    async def wait_for_renewal(self, timeout_s: float) -> None:
        """Wait until a new token comes, at most so long."""
        self._renewed.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._renewed.wait()
        except TimeoutError:
            return


class Connections:
    """The channels and stubs of one worker."""

    def __init__(self, strategy: str, market: str, trading: str, worker_token: str, tls: PeerTls = PLAIN) -> None:
        """The first three are addresses."""
        self._market_address, self._tls = market, tls
        self._channels = {address: tls.channel(address, CHANNEL_OPTIONS) for address in {strategy, market, trading}}
        self.renew(worker_token)
        self.worker = WorkerServiceStub(self._channels[strategy])
        self.market = MarketServiceStub(self._channels[market])
        self.stream_ticks = self._channels[market].unary_stream(
            "/redfire.market.v1.MarketService/StreamTicks",
            request_serializer=market_pb2.StreamTicksRequest.SerializeToString,
            response_deserializer=None,
        )
        """StreamTicks whose messages stay bytes, for a scanner."""
        self.orders = OrderServiceStub(self._channels[trading])
        self.accounts = AccountServiceStub(self._channels[trading])
        self._blocking: grpc.Channel | None = None

    def renew(self, worker_token: str) -> None:
        """Call as the worker with this token from now on."""
        self.worker_metadata: Metadata = (("x-redfire-service", worker_token),)

    def blocking_market(self) -> Any:
        """A synchronous stub, because vnpy's strategies load their history inside a synchronous call."""
        if self._blocking is None:
            self._blocking = self._tls.blocking_channel(self._market_address, CHANNEL_OPTIONS)
        return MarketServiceStub(self._blocking)

    async def close(self) -> None:
        """Close them."""
        for channel in self._channels.values():
            await channel.close()
        if self._blocking is not None:
            self._blocking.close()
