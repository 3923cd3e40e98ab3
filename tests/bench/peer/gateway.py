"""The gateway: checks who asks, and passes on to trading."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import httpx
import jwt
from fastapi import Depends, FastAPI, HTTPException, Request, Response

from tests.bench.peer.settings import Settings

settings = Settings()
KEPT = httpx.Limits(max_connections=200, max_keepalive_connections=200)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep connections to trading."""
    async with httpx.AsyncClient(base_url=settings.trading_url, limits=KEPT, timeout=30) as client:
        app.state.trading = client
        yield


app = FastAPI(lifespan=lifespan)


async def user_of(request: Request) -> str:
    """The caller, of the token."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    try:
        claims = jwt.decode(token, settings.secret, algorithms=["HS256"], audience="peer", issuer="peer")
    except jwt.InvalidTokenError as error:
        raise HTTPException(401, "no valid token") from error
    if scheme != "Bearer" or "trading:write" not in claims["scope"]:
        raise HTTPException(403, "not allowed")
    return str(claims["sub"])


@app.post("/api/trading/orders")
async def create_order(request: Request, user_id: Annotated[str, Depends(user_of)]) -> Response:
    """Pass an order on."""
    headers = {"content-type": "application/json", "x-user-id": user_id}
    answer = await request.app.state.trading.post("/orders", content=await request.body(), headers=headers)
    return Response(answer.content, answer.status_code, media_type="application/json")


@app.get("/api/trading/orders/{order_id}")
async def get_order(order_id: str, request: Request, user_id: Annotated[str, Depends(user_of)]) -> Response:
    """Pass a question on."""
    answer = await request.app.state.trading.get(f"/orders/{order_id}", headers={"x-user-id": user_id})
    return Response(answer.content, answer.status_code, media_type="application/json")


@app.get("/health")
async def health() -> dict[str, str]:
    """Say that it serves."""
    return {"status": "SERVING"}
