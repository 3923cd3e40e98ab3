"""The cache of single values, for callers that ask for one again and again instead of watching."""

from datetime import UTC

from redfire.config.v1 import config_pb2 as pb

from services.config.config import Config, ConfigName
from services.config.convert import config_to_pb, value_from_pb
from services.kernel.redis.read_cache import CacheRule


def _encoded(config: Config) -> bytes:
    return config_to_pb(config).SerializeToString()


def _decoded(data: bytes) -> Config:
    message = pb.Config.FromString(data)
    return Config(
        name=ConfigName(message.environment, message.service_name, message.key),
        value=None if message.deleted else value_from_pb(message.value),
        version=message.version,
        updated_by=message.updated_by,
        update_time=message.update_time.ToDatetime(UTC),
        deleted=message.deleted,
    )


CONFIGS: CacheRule[Config] = CacheRule("config", _encoded, _decoded)
