"""Users between the wire and the service."""

from datetime import UTC

from google.protobuf.timestamp_pb2 import Timestamp
from redfire.user.v1 import user_pb2 as pb

from services.kernel.errors import Invalid
from services.user.user import ProfileChange, User, UserFilter, UserStatus

CHANGEABLE = ("email", "phone", "display_name")


def user_to_pb(user: User) -> pb.User:
    """A user for the wire."""
    message = pb.User(
        user_id=user.user_id,
        username=user.username,
        email=user.email,
        phone=user.phone,
        display_name=user.display_name,
        role=user.role,
        status=f"USER_STATUS_{user.status}",
        create_time=Timestamp(),
        update_time=Timestamp(),
        email_verified=user.email_verified,
    )
    message.create_time.FromDatetime(user.create_time)
    message.update_time.FromDatetime(user.update_time)
    return message


def user_from_pb(message: pb.User) -> User:
    """A user as `user_to_pb` wrote it."""
    return User(
        user_id=message.user_id,
        username=message.username,
        email=message.email,
        phone=message.phone,
        display_name=message.display_name,
        role=message.role,
        status=status_from_pb(message.status),
        create_time=message.create_time.ToDatetime(UTC),
        update_time=message.update_time.ToDatetime(UTC),
        email_verified=message.email_verified,
    )


def status_from_pb(status: int) -> UserStatus:
    """A status from the wire."""
    return UserStatus(pb.UserStatus.Name(status).removeprefix("USER_STATUS_"))


def filter_from_pb(request: pb.ListUsersRequest) -> UserFilter:
    """Convert a filter of users."""
    status = status_from_pb(request.status) if request.status else None
    return UserFilter(query=request.query, role=request.role, status=status)


def update_from_pb(request: pb.UpdateUserRequest) -> ProfileChange:
    """Convert changes: the mask's fields, or all that are set without one. Raises Invalid for any other field."""
    if request.update_mask.paths:
        paths = [path.removeprefix("user.") for path in request.update_mask.paths]
        for path in paths:
            if path not in CHANGEABLE:
                raise Invalid(f"{path} cannot be changed; {', '.join(CHANGEABLE)} can", field="update_mask")
    else:
        paths = [descriptor.name for descriptor, _ in request.user.ListFields()]
        for path in paths:
            if path not in CHANGEABLE:
                raise Invalid(f"cannot be changed; {', '.join(CHANGEABLE)} can", field=f"user.{path}")
    return ProfileChange(**{path: getattr(request.user, path) for path in paths})
