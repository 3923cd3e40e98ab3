"""A stand-in for all services behind the edge: answers each RPC of the contract, and remembers what arrived."""

import inspect
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf import message_factory
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from services.kernel.rpc.reflection import add_reflection
from services.mesh.contract import Contract, Rpc


@dataclass
class Arrived:
    """One call as a service saw it."""

    rpc: str
    request: Message
    metadata: dict[str, str]
    time_left_s: float | None


Answer = Callable[[Any, grpc.aio.ServicerContext, type[Message]], Any]


@dataclass
class Backend:
    """All RPCs on one gRPC server, and the ops server beside it. `answers` by RPC name replaces the empty answers."""

    contract: Contract
    answers: dict[str, Answer] = field(default_factory=dict)
    arrived: list[Arrived] = field(default_factory=list)
    address: str = ""
    ops: str = ""
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    async def start(self) -> None:
        self._server = grpc.aio.server()
        services: dict[str, dict[str, grpc.RpcMethodHandler]] = {}
        for rpc in self.contract.rpcs:
            services.setdefault(rpc.grpc_service, {})[rpc.policy.name] = self._handler(rpc)
        for name, handlers in services.items():
            self._server.add_registered_method_handlers(name, handlers)
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
        self._health = health.aio.HealthServicer()
        await self.set_serving(True)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        add_reflection(self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        await self._server.start()
        app = web.Application()
        app.router.add_get("/jwks.json", self._jwks)
        app.router.add_get("/healthz", self._healthz)
        self._ops = web.AppRunner(app, shutdown_timeout=0.1)
        await self._ops.setup()
        site = web.TCPSite(self._ops, "127.0.0.1", 0)
        await site.start()
        self.ops = f"127.0.0.1:{self._ops.addresses[0][1]}"

    async def stop(self) -> None:
        await self._server.stop(0.1)
        await self._ops.cleanup()

    async def set_serving(self, is_serving: bool) -> None:
        """Set the health of its services."""
        name = "SERVING" if is_serving else "NOT_SERVING"
        for service in ("", *self.contract.services):
            await self._health.set(service, health_pb2.HealthCheckResponse.ServingStatus.Value(name))

    def token(self, subject: str = "alice", *, key: Ed25519PrivateKey | None = None, **claims: Any) -> str:
        now = int(time.time())
        body = {"iss": "redfire", "aud": "redfire", "sub": subject, "iat": now, "exp": now + 3600} | claims
        return jwt.encode(body, key or self.key, "EdDSA", headers={"kid": "one"})

    def bearer(self, subject: str = "alice", **claims: Any) -> dict[str, str]:
        return {"authorization": "Bearer " + self.token(subject, **claims)}

    def _handler(self, rpc: Rpc) -> grpc.RpcMethodHandler:
        request_class = message_factory.GetMessageClass(rpc.method.input_type)
        response_class = message_factory.GetMessageClass(rpc.method.output_type)

        def note(request: Message, context: grpc.aio.ServicerContext) -> None:
            metadata = {k: v for k, v in context.invocation_metadata() or () if isinstance(v, str)}
            self.arrived.append(Arrived(rpc.policy.full_name, request, metadata, context.time_remaining()))

        async def unary(request: Message, context: grpc.aio.ServicerContext) -> Message:
            note(request, context)
            answer = self.answers.get(rpc.policy.name)
            if answer is None:
                return response_class()
            reply = answer(request, context, response_class)
            return await reply if inspect.isawaitable(reply) else reply

        async def stream(request: Message, context: grpc.aio.ServicerContext) -> AsyncIterator[Message]:
            note(request, context)
            if answer := self.answers.get(rpc.policy.name):
                async for message in answer(request, context, response_class):
                    yield message

        make, handler = (
            (grpc.unary_stream_rpc_method_handler, stream)
            if rpc.policy.streams
            else (grpc.unary_unary_rpc_method_handler, unary)
        )
        return make(handler, request_class.FromString, lambda message: message.SerializeToString())

    async def _jwks(self, _: web.Request) -> web.Response:
        public = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(self.key.public_key()))
        return web.json_response({"keys": [public | {"kid": "one", "use": "sig", "alg": "EdDSA"}]})

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "SERVING"})
