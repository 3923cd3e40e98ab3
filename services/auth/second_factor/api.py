"""The second factor over gRPC: convert, call the service, convert."""

from redfire.auth.v1 import auth_pb2 as pb

from services.auth.second_factor import totp
from services.auth.second_factor.service import SecondFactorService
from services.auth.service import SessionService
from services.auth.step_up import StepUp
from services.auth.user_client import UserClient
from services.kernel.errors import NotFound
from services.kernel.rpc.call import Call


class SecondFactorApi:
    """The RPCs of AuthService about the second factor. All that changes it needs a recent password."""

    def __init__(
        self, second_factor: SecondFactorService, step_up: StepUp, users: UserClient, sessions: SessionService
    ) -> None:
        self._sessions = sessions
        self._second_factor = second_factor
        self._recent_password = step_up
        self._users = users

    async def GetSecondFactor(self, request: pb.GetSecondFactorRequest, call: Call) -> pb.GetSecondFactorResponse:
        """Reads the state of the caller's."""
        return pb.GetSecondFactorResponse(
            enabled=await self._second_factor.is_enabled(call.user_id),
            demanded=self._second_factor.is_demanded(call.identity.role),
            recovery_codes_left=await self._second_factor.recovery_codes_left(call.user_id),
        )

    async def EnrollTotp(self, request: pb.EnrollTotpRequest, call: Call) -> pb.EnrollTotpResponse:
        """Makes a secret for an app."""
        await self._recent_password.require_of(call.identity)
        user = await self._users.find(call.user_id)
        if user is None:
            raise NotFound("user", call.user_id)
        secret = await self._second_factor.enroll(call.user_id)
        return pb.EnrollTotpResponse(secret=totp.to_base32(secret), uri=totp.uri(secret, user.username))

    async def ConfirmTotp(self, request: pb.ConfirmTotpRequest, call: Call) -> pb.ConfirmTotpResponse:
        """Has the secret count."""
        await self._recent_password.require_of(call.identity)
        codes = await self._second_factor.confirm(call.user_id, request.code)
        # What began with the password alone ends. This session goes on, and proves itself anew at its next step-up.
        await self._sessions.end_others(call.user_id, call.identity.session_id)
        return pb.ConfirmTotpResponse(recovery_codes=codes)

    async def CreateRecoveryCodes(
        self, request: pb.CreateRecoveryCodesRequest, call: Call
    ) -> pb.CreateRecoveryCodesResponse:
        """Makes new recovery codes."""
        await self._recent_password.require_of(call.identity)
        codes = await self._second_factor.create_recovery_codes(call.user_id, request.code)
        return pb.CreateRecoveryCodesResponse(recovery_codes=codes)

    async def DisableTotp(self, request: pb.DisableTotpRequest, call: Call) -> pb.DisableTotpResponse:
        """Removes it."""
        await self._recent_password.require_of(call.identity)
        await self._second_factor.disable(call.user_id, call.identity.role, request.code)
        return pb.DisableTotpResponse()
