"""The operators' HTTP port of a process: health, metrics, keys and OpenAPI."""

import hmac
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from google.protobuf import json_format
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from services.kernel.errors import RedFireError
from services.kernel.policy import descriptor_file
from services.kernel.version import VERSION

Health = Callable[[], Awaitable[dict[str, str]]]
Keys = Callable[[], Awaitable[Any]]


class OperationsServer:
    """Serves `/healthz`, `/livez`, `/metrics`, `/jwks.json` and `/openapi.json` on loopback HTTP.

    `/metrics` can want a token.
    """

    def __init__(self, health: Health, failures: Callable[[], dict[str, str]], keys: Keys) -> None:
        self._health = health
        self._failures = failures
        self._keys = keys
        self._runner: web.AppRunner | None = None
        self._metrics_token = ""  # nosec B105
        self.port = 0

    async def start(self, host: str, port: int, reuse_port: bool = False, metrics_token: str = "") -> None:
        """Listen; with port 0 on a free one, which `port` has. Without a token the metrics are everybody's."""
        self._metrics_token = metrics_token
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/jwks.json", self._jwks)
        app.router.add_get("/openapi.json", self._openapi)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, reuse_port=reuse_port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        services = await self._health()
        serving = all(state == "SERVING" for state in services.values())
        body: dict[str, Any] = {
            "status": "SERVING" if serving else "NOT_SERVING",
            "version": VERSION,
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "services": services,
        }
        if failures := self._failures():
            body["failures"] = failures
        return web.json_response(body, status=200 if serving else 503)

    async def _livez(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "SERVING"})

    async def _metrics(self, request: web.Request) -> web.Response:
        given = request.headers.get("authorization", "").encode(errors="surrogateescape")
        if self._metrics_token and not hmac.compare_digest(given, f"Bearer {self._metrics_token}".encode()):
            return web.Response(status=401, headers={"www-authenticate": "Bearer"})
        return web.Response(body=generate_latest(), headers={"content-type": CONTENT_TYPE_LATEST})

    async def _jwks(self, _: web.Request) -> web.Response:
        try:
            keys = await self._keys()
        except RedFireError as error:
            return web.json_response({"code": 14, "message": error.message, "details": []}, status=503)
        return web.json_response({"keys": [json_format.MessageToDict(key) for key in keys]})

    async def _openapi(self, _: web.Request) -> web.Response:
        file = descriptor_file().parents[1] / "openapi" / "redfire.openapi.json"
        return web.Response(body=file.read_bytes(), content_type="application/json")
