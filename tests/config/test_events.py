"""Events of the configuration, as others hear them."""

from redfire.config.v1 import config_pb2 as pb
from redfire.config.v1.config_pb2_grpc import ConfigServiceStub

from services.config.convert import value_to_pb
from tests.harness import platform
from tests.heard_events import HeardEvents
from tests.waiting import until

NAME = {"environment": "development", "service_name": "shop", "key": "window"}


async def test_every_new_version_is_published_and_a_rollback_as_such():
    async with platform("config") as p:
        heard = HeardEvents(p)
        admin = p.identity(role="admin")
        configs = admin.stub(ConfigServiceStub)
        for value in (1, 2):
            await configs.SetConfig(pb.SetConfigRequest(**NAME, value=value_to_pb(value)))
        await configs.RollbackConfig(pb.RollbackConfigRequest(**NAME, version=1))
        await configs.DeleteConfig(pb.DeleteConfigRequest(**NAME))
        await until(lambda: len(heard.events) == 4)
    assert heard.keys == ["config.changed", "config.changed", "config.rolled_back", "config.changed"]
    changed, (restored,) = heard.of("config.changed"), heard.of("config.rolled_back")
    assert [(e.version, e.deleted) for e in changed] == [(1, False), (2, False), (4, True)]
    assert (restored.version, restored.restored_version) == (3, 1)
    assert {(e.service_name, e.key, e.environment, e.updated_by) for e in (*changed, restored)} == {
        ("shop", "window", "development", admin.user_id)
    }
