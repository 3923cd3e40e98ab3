"""Events of users and sessions, as others hear them."""

from google.protobuf.field_mask_pb2 import FieldMask
from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub
from redfire.user.v1 import user_pb2
from redfire.user.v1.user_pb2_grpc import UserServiceStub

from tests.harness import PASSWORD, Platform
from tests.heard_events import HeardEvents
from tests.waiting import until


async def test_what_happens_to_a_user_and_their_sessions_is_published_in_order(p: Platform):
    admin = await p.admin()
    heard = HeardEvents(p)
    alice = await p.user("alice")
    await until(lambda: sorted(heard.keys) == ["auth.session_began", "user.registered"])
    (session,) = heard.of("auth.session_began")
    assert session.user_id == alice.user_id and session.session_id and session.client_address == "127.0.0.1"

    heard.events.clear()
    profile = user_pb2.UpdateUserRequest(
        user_id="me", user=user_pb2.User(display_name="Al"), update_mask=FieldMask(paths=["display_name"])
    )
    await alice.stub(UserServiceStub).UpdateUser(profile)
    change = user_pb2.ChangePasswordRequest(user_id="me", old_password=PASSWORD, new_password="another-Horse-8")
    await alice.stub(UserServiceStub).ChangePassword(change)
    administration = admin.stub(UserServiceStub)
    await administration.SetUserRole(user_pb2.SetUserRoleRequest(user_id=alice.user_id, role="guest"))
    suspended = user_pb2.USER_STATUS_SUSPENDED
    await administration.SetUserStatus(user_pb2.SetUserStatusRequest(user_id=alice.user_id, status=suspended))
    # Set again, it is no change.
    await administration.SetUserStatus(user_pb2.SetUserStatusRequest(user_id=alice.user_id, status=suspended))
    expected = ["user.profile_changed", "user.password_changed", "user.role_changed", "user.status_changed"]
    await until(lambda: [key for key in heard.keys if key.startswith("user.")] == expected)
    await until(lambda: [e.session_id for e in heard.of("auth.session_ended")] == [session.session_id])
    (profile_changed,), (role,), (status,) = (heard.of(expected[0]), heard.of(expected[2]), heard.of(expected[3]))
    assert (profile_changed.display_name, profile_changed.email) == ("Al", "alice@example.com")
    assert (role.role, role.former_role) == ("guest", "user")
    assert (status.status, status.former_status) == ("SUSPENDED", "ACTIVE")
    assert heard.of(expected[1])[0].except_session_id == session.session_id


async def test_a_logout_ends_a_session(p: Platform):
    bob = await p.user("bob")
    heard = HeardEvents(p)
    await bob.stub(AuthServiceStub).Logout(auth_pb2.LogoutRequest())
    await until(lambda: heard.keys == ["auth.session_ended"])
    assert heard.events[0].session_ended.user_id == bob.user_id
