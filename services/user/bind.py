"""Composition of the user service."""

from functools import partial

from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub

from services.kernel.redis.counts import SharedCounts
from services.kernel.runtime.service_context import ServiceContext
from services.user import models
from services.user.administration import Administration
from services.user.api import UserApi
from services.user.email_verification import EmailVerification
from services.user.first_admin import ensure_admin
from services.user.password import Passwords
from services.user.profile_cache import PROFILES
from services.user.repository import UserRepository
from services.user.service import FAILURES_WINDOW_S, UserService
from services.user.session_revocations import SessionRevocations
from services.user.settings import UserSettings
from services.user.step_up import StepUp
from services.user.user import SessionRevocation
from services.user.user_events import UserEvents


def bind(context: ServiceContext) -> None:
    """Users in a database, their passwords in a thread, their sessions in auth's hands."""
    settings = context.section(UserSettings)
    database = context.database("user", models.Base)
    user_events = UserEvents(context.outbox(database, models.OutboxRow))
    users = database.repositories(partial(UserRepository, user_events=user_events))
    passwords = Passwords(settings.argon2_time_cost, settings.argon2_memory_kib, settings.password_queue)
    auth = context.peer(AuthServiceStub)

    async def end_sessions(revocation: SessionRevocation) -> None:
        request = auth_pb2.RevokeUserSessionsRequest(
            user_id=revocation.user_id,
            except_session_id=revocation.except_session_id,
            api_keys=revocation.api_keys,
            second_factor=revocation.second_factor,
        )
        await auth.RevokeUserSessions(request)

    profiles = context.read_cache(PROFILES)
    revocations = SessionRevocations(users, end_sessions)
    step_up = StepUp(auth)
    wrong_changes = SharedCounts("password", FAILURES_WINDOW_S, context.redis, context.clock)
    live = context.live(UserSettings)
    verification = EmailVerification(users, profiles, live, context.clock)
    service = UserService(
        users, passwords, revocations, profiles, wrong_changes, step_up, verification, live, context.clock
    )
    administration = Administration(users, revocations, profiles, step_up, context.clock)
    context.serve(UserApi(service, administration, verification))
    context.background("session_revocations", revocations.run)
    # What `redfire admin` did while the platform was stopped counts before the first login.
    context.on_start(revocations.deliver_all)
    context.on_start(partial(ensure_admin, service, context.data_dir))
    context.on_stop(passwords.close)
