"""Users over gRPC: convert, call the service, convert."""

from redfire.user.v1 import user_pb2 as pb
from redfire.user.v1 import user_pb2_grpc as rpc

from services.kernel.identity.identity import ADMIN_ALL
from services.kernel.paging import Page
from services.kernel.rpc.call import Call
from services.user import convert
from services.user.administration import Administration
from services.user.email_verification import EmailVerification
from services.user.service import UserService


class UserApi(rpc.UserServiceServicer):
    """UserService of the contract."""

    def __init__(self, users: UserService, administration: Administration, verification: EmailVerification) -> None:
        self._users = users
        self._verification = verification
        self._administration = administration

    async def RegisterUser(self, request: pb.RegisterUserRequest, call: Call) -> pb.RegisterUserResponse:
        """Registers a user."""
        user = await self._users.register_user(
            request.username, request.email, request.password, request.phone, request.display_name
        )
        return pb.RegisterUserResponse(user=convert.user_to_pb(user))

    async def GetUser(self, request: pb.GetUserRequest, call: Call) -> pb.GetUserResponse:
        """Reads a user."""
        any_user = call.identity.has(ADMIN_ALL)
        user = await self._users.get_user(call.user_id, request.user_id, any_user=any_user)
        return pb.GetUserResponse(user=convert.user_to_pb(user))

    async def UpdateUser(self, request: pb.UpdateUserRequest, call: Call) -> pb.UpdateUserResponse:
        """Changes the caller's profile."""
        user = await self._users.update_user(call.identity, request.user_id, convert.update_from_pb(request))
        return pb.UpdateUserResponse(user=convert.user_to_pb(user))

    async def ChangePassword(self, request: pb.ChangePasswordRequest, call: Call) -> pb.ChangePasswordResponse:
        """Changes the caller's password."""
        _ = call.user_id  # services have none
        await self._users.change_password(call.identity, request.user_id, request.old_password, request.new_password)
        return pb.ChangePasswordResponse()

    async def VerifyEmail(self, request: pb.VerifyEmailRequest, call: Call) -> pb.VerifyEmailResponse:
        """Takes a token that was sent to an address."""
        await self._verification.verify(request.token)
        return pb.VerifyEmailResponse()

    async def SendEmailVerification(
        self, request: pb.SendEmailVerificationRequest, call: Call
    ) -> pb.SendEmailVerificationResponse:
        """Sends the token once more."""
        await self._verification.send(request.email)
        return pb.SendEmailVerificationResponse()

    async def ListUsers(self, request: pb.ListUsersRequest, call: Call) -> pb.ListUsersResponse:
        """Lists users."""
        page = await self._administration.list_users(convert.filter_from_pb(request), Page.of(request, call.user_id))
        users = [convert.user_to_pb(user) for user in page.items]
        return pb.ListUsersResponse(users=users, next_page_token=page.next_page_token)

    async def SetUserStatus(self, request: pb.SetUserStatusRequest, call: Call) -> pb.SetUserStatusResponse:
        """Sets a user's status."""
        user = await self._administration.set_user_status(request.user_id, convert.status_from_pb(request.status))
        return pb.SetUserStatusResponse(user=convert.user_to_pb(user))

    async def SetUserRole(self, request: pb.SetUserRoleRequest, call: Call) -> pb.SetUserRoleResponse:
        """Sets a user's role."""
        user = await self._administration.set_user_role(request.user_id, request.role, call.identity)
        return pb.SetUserRoleResponse(user=convert.user_to_pb(user))

    async def VerifyPassword(self, request: pb.VerifyPasswordRequest, call: Call) -> pb.VerifyPasswordResponse:
        """Says whose password it is."""
        user = await self._users.verify_password(request.username, request.password)
        missing = self._verification.is_missing(user)
        return pb.VerifyPasswordResponse(user=convert.user_to_pb(user), must_verify_email=missing)

    async def LookupUser(self, request: pb.LookupUserRequest, call: Call) -> pb.LookupUserResponse:
        """Reads any user."""
        return pb.LookupUserResponse(user=convert.user_to_pb(await self._users.lookup_user(request.user_id)))
