"""The cache of users' profiles: for who looks at them. What a login or a token rests on is read from the database."""

from redfire.user.v1 import user_pb2

from services.kernel.redis.read_cache import CacheRule
from services.user.convert import user_from_pb, user_to_pb

# `redfire admin` writes to the database alone: what it changed is seen by then.
PROFILES = CacheRule(
    "user",
    encode=lambda user: user_to_pb(user).SerializeToString(),
    decode=lambda data: user_from_pb(user_pb2.User.FromString(data)),
    shared_ttl_s=10.0,
)
