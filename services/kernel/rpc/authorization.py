"""Authorization of every call: identity, then permission; and the guard that ends streams of ended sessions."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from redfire.reasons import Reason

from services.kernel.cache import TtlCache
from services.kernel.errors import Denied, NotFound, RedFireError, Unauthenticated
from services.kernel.identity.edge_token import EdgeToken
from services.kernel.identity.identity import (
    ANONYMOUS,
    EDGE_KEY,
    SERVICE_KEY,
    AccessTokens,
    Identity,
    require_caller,
    require_delegation,
)
from services.kernel.identity.revocations import Revocations, revocations_unknown
from services.kernel.identity.service_tokens import ServiceTokens
from services.kernel.policy import MethodPolicy
from services.kernel.rpc.call import HOP_KEY, Call, Origin

VerifyApiKey = Callable[[str, str], Awaitable[Identity]]

STALLED_S = 10.0
"""Seconds that an ended stream waits for a client that does not read."""


class Authorizer:
    """Establishes the caller's identity and checks its permission."""

    def __init__(
        self,
        access_tokens: AccessTokens,
        service_tokens: ServiceTokens,
        edge_token: EdgeToken,
        revocations: Revocations,
        verify_api_key: VerifyApiKey,
    ) -> None:
        self._access_tokens = access_tokens
        self._service_tokens = service_tokens
        self._edge_token = edge_token
        self._revocations = revocations
        self._verify_api_key = verify_api_key
        # By key and address: a key may be bound to networks. Revocations are looked up each time.
        self._api_keys: TtlCache[tuple[str, str], Identity] = TtlCache(10_000, 60)

    async def admit(self, policy: MethodPolicy, origin: Origin, call: Call) -> None:
        """Set the call's identity, and its client's address as the edge says it.

        Raises Unauthenticated or Denied as the RPC's policy says.
        """
        if (address := origin.text("x-envoy-external-address")) and self._edge_token.is_edge(origin.text(EDGE_KEY)):
            call.client_address = address
            # Where another replica forwarded the call, that one has counted it.
            call.is_from_edge = not origin.text(HOP_KEY)
        service = self._service(origin, policy.service)
        if policy.internal:
            if service is None:
                raise Denied("only services may call this")
            self.admit_service(policy, service, call)
            return
        try:
            identity = await self._user(origin, call)
        except Unauthenticated:
            # A public RPC does not ask who calls: a client that logs in again may still send the token that has ended.
            if not policy.public:
                raise
            identity = None
        if identity is None and service is not None:
            if not policy.public:
                require_caller(service, policy)
            identity = service
        if identity is None:
            if not policy.public:
                raise Unauthenticated("a token is needed: authorization: Bearer …, or x-api-key")
            identity = ANONYMOUS
        call.identity = identity
        if identity.account_id and not policy.public and not policy.strategies:
            raise Denied("this token is for a strategy, which may not have this done", caller="strategy")
        if not policy.public and not identity.has(policy.permission):
            raise Denied(f"the permission {policy.permission} is needed", permission=policy.permission)

    def admit_service(self, policy: MethodPolicy, service: Identity, call: Call) -> None:
        """Set the identity of a service's call of an internal RPC. Raises Denied unless the contract names it."""
        require_caller(service, policy)
        call.identity = service

    def guard(self, identity: Identity, end: Callable[[], object]) -> "StreamGuard":
        """Guard a stream of a caller; see StreamGuard."""
        return StreamGuard(identity, self._revocations, end)

    def _service(self, origin: Origin, callee: str) -> Identity | None:
        if origin.service is not None:
            return origin.service
        token = origin.text(SERVICE_KEY)
        return self._service_tokens.verify(token, callee) if token else None

    async def _user(self, origin: Origin, call: Call) -> Identity | None:
        bearer = origin.text("authorization")
        if bearer:
            scheme, _, token = bearer.partition(" ")
            if scheme.lower() != "bearer" or not token:
                raise Unauthenticated("authorization: Bearer … is what is understood")
            identity = self._access_tokens.known(token) or await self._access_tokens.verify(token)
            # Strategies are inside. One that gives its token away gives nothing that works without the networks its
            # starter's key is bound to.
            if identity.actor and call.is_from_edge:
                raise Unauthenticated("this token is for a strategy of the platform, not for callers from outside")
        elif secret := origin.text("x-api-key"):
            cached = self._api_keys.get((secret, call.client_address))
            if cached is None or cached.expires_at <= time.time():
                cached = await self._verify_api_key(secret, call.client_address)
                self._api_keys.put((secret, call.client_address), cached)
            identity = cached
        else:
            return None
        self._revocations.check(identity)
        return identity


def within_delegations(policy: MethodPolicy, behavior: Any) -> Any:
    """Let callers ask only for the scopes that the contract lets each of them have in a user's name."""

    async def unary(request: Any, call: Call) -> Any:
        require_delegation(call.identity, policy, request.scopes)
        return await behavior(request, call)

    return unary


def within_account(behavior: Any) -> Any:
    """Let a strategy's token reach one account; a request that names none is of that one. Raises NotFound."""

    def within(request: Any, call: Call) -> Any:
        bound = call.identity.account_id
        if bound and request.account_id != bound:
            if request.account_id:
                raise NotFound("account", request.account_id)
            request, original = type(request)(), request
            request.CopyFrom(original)
            request.account_id = bound
        return behavior(request, call)

    return within


class StreamGuard:
    """Ends a stream, by `end`, when its caller's session is revoked, the token ends, or its shard moves.

    Not while the task that serves it is `away`, its item being sent: a cancellation there ends the RPC without a
    status, and its client waits without end. It ends when it comes `back`, or is let go when its client takes nothing
    for STALLED_S.
    """

    __slots__ = ("_end_stream", "_stops", "away", "ended", "error")

    def __init__(self, identity: Identity, revocations: Revocations, end: Callable[[], object]) -> None:
        self.ended = self.away = False
        self.error: RedFireError = Unauthenticated("the session was ended", reason=Reason.SESSION_REVOKED)
        self._end_stream = end
        self._stops: list[Callable[[], None]] = []
        if identity.kind != "user":
            if identity.key_id:
                self._stops.append(revocations.watch(identity, self))
            return
        left_s = identity.expires_at - time.time()
        if left_s <= 0:
            raise Unauthenticated("the token has expired", reason=Reason.TOKEN_EXPIRED)
        if identity.revocable_id:
            # Revoked between admission and now.
            revocations.check(identity)
            self._stops.append(revocations.watch(identity, self))
        if left_s < 86400 * 365:
            self._stops.append(asyncio.get_running_loop().call_later(left_s, self._expire).cancel)

    def back(self) -> None:
        """The item was sent. Raises CancelledError when the stream was to end meanwhile."""
        self.away = False
        if self.ended:
            raise asyncio.CancelledError

    def stop(self) -> None:
        """End the guard: the stream has ended."""
        for stop in self._stops:
            stop()

    def end(self, error: RedFireError) -> None:
        """End the stream with an error, once."""
        if not self.ended:
            self.error = error
            self._end()

    def revoked(self) -> None:
        """The session was ended, or the key that signed the token was removed."""
        self.end(Unauthenticated("the session was ended", reason=Reason.SESSION_REVOKED))

    def unsure(self) -> None:
        """Auth is silent for too long."""
        self.end(revocations_unknown())

    def _expire(self) -> None:
        self.end(Unauthenticated("the token has expired", reason=Reason.TOKEN_EXPIRED))

    def _end(self) -> None:
        self.ended = True
        if self.away:
            self._stops.append(asyncio.get_running_loop().call_later(STALLED_S, self._end_stream).cancel)
        else:
            self._end_stream()
