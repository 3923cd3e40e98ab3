"""Composition of the auth service."""

from functools import partial

from redfire.user.v1.user_pb2_grpc import UserServiceStub

from services.auth import models
from services.auth.api import AuthApi
from services.auth.api_keys.repository import ApiKeyRepository
from services.auth.api_keys.service import ApiKeyService
from services.auth.devices import Devices
from services.auth.key_ring import KeyRing
from services.auth.maintenance import Maintenance
from services.auth.repository import AuthRepository
from services.auth.revocations.feed import RevocationFeed
from services.auth.revocations.publisher import RevocationPublisher
from services.auth.second_factor.repository import SecondFactorRepository
from services.auth.second_factor.secret_box import SecretBox
from services.auth.second_factor.service import WRONG_CODES_WINDOW_S, SecondFactorService
from services.auth.service import SessionService
from services.auth.session_events import SessionEvents
from services.auth.settings import AuthSettings
from services.auth.shared_throttle import SharedThrottle
from services.auth.step_up import StepUp
from services.auth.throttle import LoginThrottle
from services.auth.tokens import AccessTokenMint
from services.auth.user_client import UserClient
from services.kernel.redis.counts import SharedCounts
from services.kernel.runtime.service_context import ServiceContext


def bind(context: ServiceContext) -> None:
    """Sessions and API keys in a database, signing keys in a folder, users at the user service."""
    clock = context.clock
    settings = context.live(AuthSettings)
    keys_dir = settings.value.keys_dir or context.data_dir / "auth" / "keys"
    keys = KeyRing(keys_dir, lambda: clock.now_ns() / 1e9)
    keys.open()
    devices = Devices(keys_dir, clock)
    devices.open()
    database = context.database("auth", models.Base)
    events = SessionEvents(context.outbox(database, models.OutboxRow))
    auth = database.repositories(partial(AuthRepository, events=events))
    users = UserClient(context.peer(UserServiceStub))
    feed = RevocationFeed(auth, clock, RevocationPublisher(context.messages, context.tasks).publish)
    throttle = SharedThrottle(LoginThrottle(settings, clock), context.redis, settings)
    wrong_codes = SharedCounts("second_factor", WRONG_CODES_WINDOW_S, context.redis, clock)
    factors = database.repositories(SecondFactorRepository)
    second_factor = SecondFactorService(factors, SecretBox(keys_dir), wrong_codes, settings, clock)
    step_up = StepUp(auth, users, throttle, second_factor, settings, clock)
    api_keys = ApiKeyService(database.repositories(ApiKeyRepository), users, feed, step_up, settings, clock)
    sessions = SessionService(
        auth, users, api_keys, AccessTokenMint(keys), feed, throttle, devices, second_factor, settings, clock
    )
    maintenance = Maintenance(keys, auth, feed, clock, context.run_blocking)
    context.serve(AuthApi(sessions, step_up, second_factor, users, api_keys, keys, feed, clock))
    context.background("keys", maintenance.watch_keys)
    context.background("maintenance", maintenance.tidy)
    if database.is_shared:
        context.background("revocations", feed.follow_replicas)
    context.on_drain(feed.drain)
