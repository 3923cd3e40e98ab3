"""Logins, sessions, API keys and public keys over gRPC: convert, call the service, convert."""

from collections.abc import AsyncIterator

from redfire.auth.v1 import auth_pb2 as pb
from redfire.auth.v1 import auth_pb2_grpc as rpc

from services.auth import convert
from services.auth.api_keys.service import ApiKeyService
from services.auth.key_ring import KeyRing
from services.auth.revocations.feed import RevocationFeed
from services.auth.second_factor.api import SecondFactorApi
from services.auth.second_factor.service import SecondFactorService
from services.auth.service import SessionService
from services.auth.session import Client
from services.auth.step_up import StepUp
from services.auth.user_client import UserClient
from services.kernel.clock import Clock
from services.kernel.paging import Page
from services.kernel.rpc.call import Call


class AuthApi(SecondFactorApi, rpc.AuthServiceServicer):
    """AuthService of the contract."""

    def __init__(
        self,
        sessions: SessionService,
        step_up: StepUp,
        second_factor: SecondFactorService,
        users: UserClient,
        api_keys: ApiKeyService,
        keys: KeyRing,
        feed: RevocationFeed,
        clock: Clock,
    ) -> None:
        SecondFactorApi.__init__(self, second_factor, step_up, users, sessions)
        self._step_up = step_up
        self._api_keys = api_keys
        self._keys = keys
        self._feed = feed
        self._clock = clock

    async def Login(self, request: pb.LoginRequest, call: Call) -> pb.LoginResponse:
        """Logs in."""
        client = Client(call.client_address, call.user_agent, call.device_token)
        return convert.login_to_pb(await self._sessions.login(request.username, request.password, request.code, client))

    async def RefreshToken(self, request: pb.RefreshTokenRequest, call: Call) -> pb.RefreshTokenResponse:
        """Exchanges a refresh token for new tokens."""
        return convert.refresh_to_pb(await self._sessions.refresh_token(request.refresh_token))

    async def Logout(self, request: pb.LogoutRequest, call: Call) -> pb.LogoutResponse:
        """Ends the caller's session, or all."""
        await self._sessions.logout(call.user_id, call.identity.session_id, request.all_sessions)
        return pb.LogoutResponse()

    async def ConfirmPassword(self, request: pb.ConfirmPasswordRequest, call: Call) -> pb.ConfirmPasswordResponse:
        """Takes the password again."""
        _ = call.user_id  # services have none
        client = Client(call.client_address, call.user_agent)
        ends = await self._step_up.confirm(call.identity, request.password, request.code, client)
        return pb.ConfirmPasswordResponse(expire_time=convert.time_to_pb(ends))

    async def CheckRecentPassword(
        self, request: pb.CheckRecentPasswordRequest, call: Call
    ) -> pb.CheckRecentPasswordResponse:
        """Refuse where the password was not entered lately."""
        await self._step_up.require(request.user_id, request.session_id)
        return pb.CheckRecentPasswordResponse()

    async def ListSessions(self, request: pb.ListSessionsRequest, call: Call) -> pb.ListSessionsResponse:
        """Lists the caller's sessions."""
        page = await self._sessions.list_sessions(call.user_id, Page.of(request, owner=call.user_id))
        sessions = [convert.session_to_pb(session, call.identity.session_id) for session in page.items]
        return pb.ListSessionsResponse(sessions=sessions, next_page_token=page.next_page_token)

    async def RevokeSession(self, request: pb.RevokeSessionRequest, call: Call) -> pb.RevokeSessionResponse:
        """Ends one of the caller's sessions."""
        await self._sessions.revoke_session(call.user_id, request.session_id)
        return pb.RevokeSessionResponse()

    async def CreateApiKey(self, request: pb.CreateApiKeyRequest, call: Call) -> pb.CreateApiKeyResponse:
        """Makes an API key."""
        _ = call.user_id  # services have none and make none
        expire_time = convert.expire_time_from_pb(request)
        made = await self._api_keys.create_api_key(
            call.identity, request.display_name, request.scopes, expire_time, request.allowed_cidrs
        )
        return pb.CreateApiKeyResponse(api_key=convert.api_key_to_pb(made.api_key), secret=made.secret)

    async def ListApiKeys(self, request: pb.ListApiKeysRequest, call: Call) -> pb.ListApiKeysResponse:
        """Lists the caller's API keys."""
        page = await self._api_keys.list_api_keys(call.user_id, Page.of(request, owner=call.user_id))
        keys = [convert.api_key_to_pb(key) for key in page.items]
        return pb.ListApiKeysResponse(api_keys=keys, next_page_token=page.next_page_token)

    async def RevokeApiKey(self, request: pb.RevokeApiKeyRequest, call: Call) -> pb.RevokeApiKeyResponse:
        """Ends one of the caller's API keys."""
        await self._api_keys.revoke_api_key(call.user_id, request.api_key_id)
        return pb.RevokeApiKeyResponse()

    async def GetJwks(self, request: pb.GetJwksRequest, call: Call) -> pb.GetJwksResponse:
        """The public keys."""
        return pb.GetJwksResponse(keys=[convert.jwk_to_pb(key) for key in self._keys.public_keys()])

    async def WatchRevocations(
        self, request: pb.WatchRevocationsRequest, call: Call
    ) -> AsyncIterator[pb.WatchRevocationsResponse]:
        """Stream revocations as they happen."""
        async for item in self._feed.watch_revocations():
            yield convert.watch_message_to_pb(item, self._clock.now())

    async def ExchangeToken(self, request: pb.ExchangeTokenRequest, call: Call) -> pb.ExchangeTokenResponse:
        """A token to act for a user."""
        made = await self._sessions.exchange_token(
            call.identity.service,
            request.user_id,
            request.scopes,
            request.session_id,
            request.api_key_id,
            request.account_id,
            request.strategy_id,
        )
        return pb.ExchangeTokenResponse(access_token=made.access_token, expires_in=made.expires_in_s)

    async def VerifyApiKey(self, request: pb.VerifyApiKeyRequest, call: Call) -> pb.VerifyApiKeyResponse:
        """Identify the owner of an API key."""
        return convert.verified_to_pb(await self._api_keys.verify_api_key(request.secret, request.client_address))

    async def RevokeUserSessions(
        self, request: pb.RevokeUserSessionsRequest, call: Call
    ) -> pb.RevokeUserSessionsResponse:
        """Ends a user's sessions."""
        await self._sessions.revoke_user_sessions(
            request.user_id, request.except_session_id, request.api_keys, request.second_factor
        )
        return pb.RevokeUserSessionsResponse()
