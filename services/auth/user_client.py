"""The users that auth asks the user service for."""

from dataclasses import replace
from typing import Any

from redfire.user.v1 import user_pb2

from services.auth.session import AuthUser
from services.kernel.errors import NotFound


class UserClient:
    """Client of the user service: owners of passwords, and the present role and status of users."""

    def __init__(self, users: Any) -> None:
        """`users` is a stub of UserService."""
        self._users = users

    async def verify_password(self, username: str, password: str) -> AuthUser:
        """The user, whatever the status. Raises Unauthenticated, and what the user service raises under load."""
        request = user_pb2.VerifyPasswordRequest(username=username, password=password)
        answer = await self._users.VerifyPassword(request)
        return replace(_user(answer.user), must_verify_email=answer.must_verify_email)

    async def find(self, user_id: str) -> AuthUser | None:
        """The user at present, or None."""
        try:
            return _user((await self._users.LookupUser(user_pb2.LookupUserRequest(user_id=user_id))).user)
        except NotFound:
            return None


def _user(user: user_pb2.User) -> AuthUser:
    return AuthUser(user.user_id, user.role, user.status == user_pb2.USER_STATUS_ACTIVE, user.username)
