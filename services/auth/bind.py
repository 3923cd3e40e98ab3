"""What the auth service is made of."""

from redfire.user.v1.user_pb2_grpc import UserServiceStub

from services.auth import models
from services.auth.api import AuthApi
from services.auth.api_key_repository import ApiKeyRepository
from services.auth.api_key_service import ApiKeyService
from services.auth.keys import KeyRing
from services.auth.maintenance import Upkeep
from services.auth.repository import AuthRepository
from services.auth.revocation_feed import RevocationFeed
from services.auth.service import SessionService
from services.auth.settings import AuthSettings
from services.auth.throttle import LoginThrottle
from services.auth.tokens import AccessTokenMint
from services.auth.user_client import UserDirectory
from services.kernel.runtime.service_context import Process


def bind(process: Process) -> None:
    """Sessions and API keys in a database, signing keys in a folder, users at the user service."""
    clock = process.clock
    settings = process.live(AuthSettings)
    keys = KeyRing(settings.value.keys_dir or process.data_dir / "auth" / "keys", lambda: clock.now_ns() / 1e9)
    keys.open()
    database = process.database("auth", models.Base)
    auth = database.repositories(AuthRepository)
    users = UserDirectory(process.peer(UserServiceStub))
    feed = RevocationFeed(auth, clock)
    api_keys = ApiKeyService(database.repositories(ApiKeyRepository), users, feed, clock)
    throttle = LoginThrottle(settings, clock)
    sessions = SessionService(auth, users, api_keys, AccessTokenMint(keys), feed, throttle, settings, clock)
    upkeep = Upkeep(keys, auth, clock, process.run_blocking)
    process.serve(AuthApi(sessions, api_keys, keys, feed, clock))
    process.background("keys", upkeep.watch_keys)
    process.background("upkeep", upkeep.tidy)
    process.on_drain(feed.drain)
