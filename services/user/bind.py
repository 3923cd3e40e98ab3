"""What the user service is made of."""

from functools import partial

from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub

from services.kernel.runtime.service_context import ServiceContext
from services.user import models
from services.user.administration import Administration
from services.user.api import UserApi
from services.user.first_admin import ensure_admin
from services.user.passwords import Passwords
from services.user.repository import UserRepository
from services.user.service import UserService
from services.user.session_revocations import SessionEndings
from services.user.settings import UsersSettings
from services.user.user import SessionEnding
from services.user.user_events import Announcements


def bind(context: ServiceContext) -> None:
    """Users in a database, their passwords in a thread, their sessions in auth's hands."""
    settings = context.section(UsersSettings)
    database = context.database("user", models.Base)
    announcements = Announcements(context.outbox(database, models.OutboxRow))
    users = database.repositories(partial(UserRepository, announcements=announcements))
    passwords = Passwords(settings.argon2_time_cost, settings.argon2_memory_kib, settings.password_queue)
    auth = context.peer(AuthServiceStub)

    async def end_sessions(ending: SessionEnding) -> None:
        request = auth_pb2.RevokeUserSessionsRequest(
            user_id=ending.user_id, except_session_id=ending.except_session_id, api_keys=ending.api_keys
        )
        await auth.RevokeUserSessions(request)

    endings = SessionEndings(users, end_sessions)
    service = UserService(users, passwords, endings, announcements, context.live(UsersSettings), context.clock)
    context.serve(UserApi(service, Administration(users, endings, context.clock)))
    context.background("session_endings", endings.run)
    # What `redfire admin` did while the platform was stopped counts before the first login.
    context.on_start(endings.settle_all)
    context.on_start(partial(ensure_admin, service, context.data_dir))
    context.on_stop(passwords.close)
