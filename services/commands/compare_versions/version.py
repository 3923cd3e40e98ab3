"""A running version of the platform, asked by REST at its edge or by gRPC at a service or the edge."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

import aiohttp
import grpc
from google.protobuf import json_format, message_factory
from grpc_status import rpc_status

from services.commands.click_command import BadInput, Failure
from services.commands.compare_versions.requests import Request
from services.kernel.identifiers import new_id
from services.kernel.rpc.client import CHANNEL_OPTIONS, target

TIMEOUT_S = 30.0
CODES = {code.value[0]: code.name for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: gRPC's name of its status, its fields, and the time that it took."""

    status: str
    fields: Any
    ms: float


class Version(Protocol):
    """One of the two."""

    address: str

    async def ask(self, request: Request) -> Answer:
        """Send a request. Raises Failure where nothing answers."""

    async def __aenter__(self) -> "Version": ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


def version_at(address: str, token: str) -> Version:
    """The version at `http://HOST:PORT`, by REST, or at `HOST:PORT`, by gRPC. Raises BadInput for what is neither."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    if address.startswith(("http://", "https://")):
        return RestVersion(address.rstrip("/"), headers)
    if "/" in address or not address.rpartition(":")[2].isdigit():
        raise BadInput(f"{address!r} is neither a base URL (http://HOST:PORT) nor a gRPC address (HOST:PORT)")
    return GrpcVersion(address, headers)


class RestVersion:
    """A version behind an edge."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self.address = url
        self._headers = headers
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "RestVersion":
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def ask(self, request: Request) -> Answer:
        """Send it. Raises Failure."""
        assert self._session is not None
        headers = {"content-type": "application/json"} if request.content else {}
        began = time.perf_counter()
        try:
            async with self._session.request(
                request.verb, f"{self.address}{request.path}", data=request.content or None, headers=headers
            ) as answer:
                content = await answer.read()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise Failure(f"{self.address} does not answer {request.name}: {error or 'in time'}") from None
        ms = (time.perf_counter() - began) * 1e3
        try:
            fields = json.loads(content)
        except ValueError:
            fields = {"body": content.decode(errors="replace")}
        if answer.status == 200:
            return Answer("OK", fields, ms)
        code = fields.get("code") if isinstance(fields, dict) else None
        return Answer(CODES.get(code, f"HTTP {answer.status}"), fields, ms)


class GrpcVersion:
    """A version's process."""

    def __init__(self, address: str, headers: Mapping[str, str]) -> None:
        self.address = address
        self._metadata = tuple(headers.items())
        self._channel: grpc.aio.Channel | None = None

    async def __aenter__(self) -> "GrpcVersion":
        self._channel = grpc.aio.insecure_channel(target(self.address), options=CHANNEL_OPTIONS)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._channel is not None:
            await self._channel.close()

    async def ask(self, request: Request) -> Answer:
        """Send it. Raises Failure."""
        assert self._channel is not None
        method = request.rpc.method
        asked = message_factory.GetMessageClass(method.input_type)()
        try:
            json_format.ParseDict(request.body, asked)
        except json_format.ParseError as error:
            return Answer("INVALID_ARGUMENT", {"message": str(error)}, 0.0)
        answered = message_factory.GetMessageClass(method.output_type)
        call = self._channel.unary_unary(
            request.rpc.policy.full_name, response_deserializer=answered.FromString
        )  # a request of bytes
        # As the edge gives each request one, so that errors of versions which name none by themselves compare.
        metadata = (*self._metadata, ("x-request-id", new_id()))
        began = time.perf_counter()
        try:
            answer = await call(asked.SerializeToString(), metadata=metadata, timeout=TIMEOUT_S)
        except grpc.aio.AioRpcError as failure:
            if failure.code() is grpc.StatusCode.UNAVAILABLE and rpc_status.from_call(failure) is None:
                raise Failure(f"{self.address} does not answer {request.name}: {failure.details()}") from None
            return Answer(failure.code().name, _error_fields(failure), (time.perf_counter() - began) * 1e3)
        ms = (time.perf_counter() - began) * 1e3
        return Answer("OK", json_format.MessageToDict(answer, always_print_fields_with_no_presence=True), ms)


def _error_fields(failure: grpc.aio.AioRpcError) -> dict[str, Any]:
    """An error's fields, as the edge writes them."""
    status = rpc_status.from_call(failure)
    if status is None:
        return {"code": failure.code().value[0], "message": failure.details(), "details": []}
    fields: dict[str, Any] = json_format.MessageToDict(status, always_print_fields_with_no_presence=True)
    return fields
