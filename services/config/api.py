"""Configuration over gRPC: convert, call the service, convert."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from redfire.config.v1 import config_pb2 as pb
from redfire.config.v1 import config_pb2_grpc as rpc

from services.config import convert
from services.config.config import Config
from services.config.document import parse_document, render_document
from services.config.service import ConfigService
from services.config.transfer import ConfigTransfer
from services.kernel.clock import Clock
from services.kernel.paging import Page
from services.kernel.rpc.call import Call
from services.kernel.streams import End

# Runs a blocking function away from the event loop: documents may be long.
RunBlocking = Callable[..., Awaitable[Any]]


class ConfigApi(rpc.ConfigServiceServicer):
    """ConfigService of the contract."""

    def __init__(
        self, configs: ConfigService, transfer: ConfigTransfer, run_blocking: RunBlocking, clock: Clock
    ) -> None:
        self._configs = configs
        self._transfer = transfer
        self._run_blocking = run_blocking
        self._clock = clock

    async def GetConfig(self, request: pb.GetConfigRequest, call: Call) -> pb.GetConfigResponse:
        """Reads a value."""
        config = await self._configs.get_config(convert.name_of(request))
        return pb.GetConfigResponse(config=convert.config_to_pb(config))

    async def SetConfig(self, request: pb.SetConfigRequest, call: Call) -> pb.SetConfigResponse:
        """Writes a value."""
        value = convert.value_from_pb(request.value)
        config = await self._configs.set_config(convert.name_of(request), value, request.etag, writer(call))
        return pb.SetConfigResponse(config=convert.config_to_pb(config))

    async def DeleteConfig(self, request: pb.DeleteConfigRequest, call: Call) -> pb.DeleteConfigResponse:
        """Deletes a value."""
        await self._configs.delete_config(convert.name_of(request), request.etag, writer(call))
        return pb.DeleteConfigResponse()

    async def ListConfigs(self, request: pb.ListConfigsRequest, call: Call) -> pb.ListConfigsResponse:
        """Lists a service's values."""
        page = await self._configs.list_configs(request.environment, request.service_name, Page.of(request))
        configs = [convert.config_to_pb(config) for config in page.items]
        return pb.ListConfigsResponse(configs=configs, next_page_token=page.next_page_token)

    async def ListConfigVersions(
        self, request: pb.ListConfigVersionsRequest, call: Call
    ) -> pb.ListConfigVersionsResponse:
        """Lists the versions of a value."""
        page = await self._configs.list_config_versions(convert.name_of(request), Page.of(request, cursor=(int,)))
        versions = [convert.config_to_pb(config) for config in page.items]
        return pb.ListConfigVersionsResponse(versions=versions, next_page_token=page.next_page_token)

    async def RollbackConfig(self, request: pb.RollbackConfigRequest, call: Call) -> pb.RollbackConfigResponse:
        """Writes an earlier version's value again."""
        config = await self._configs.rollback_config(convert.name_of(request), request.version, writer(call))
        return pb.RollbackConfigResponse(config=convert.config_to_pb(config))

    async def PurgeConfigVersions(
        self, request: pb.PurgeConfigVersionsRequest, call: Call
    ) -> pb.PurgeConfigVersionsResponse:
        """Erases the values of earlier versions."""
        count = await self._configs.purge_config_versions(convert.name_of(request), request.versions)
        return pb.PurgeConfigVersionsResponse(count=count)

    async def DiffConfigs(self, request: pb.DiffConfigsRequest, call: Call) -> pb.DiffConfigsResponse:
        """List differences between two environments."""
        changes = await self._configs.diff_configs(request.service_name, request.environment, request.other_environment)
        return pb.DiffConfigsResponse(changes=[convert.change_to_pb(change) for change in changes])

    async def SetConfigSchema(self, request: pb.SetConfigSchemaRequest, call: Call) -> pb.SetConfigSchemaResponse:
        """Sets a key's JSON schema."""
        schema = convert.struct_from_pb(request.schema, "schema")
        schema = await self._configs.set_config_schema(request.service_name, request.key, schema, writer(call))
        return pb.SetConfigSchemaResponse(schema=convert.struct_to_pb(schema))

    async def GetConfigSchema(self, request: pb.GetConfigSchemaRequest, call: Call) -> pb.GetConfigSchemaResponse:
        """Reads a key's JSON schema."""
        schema = await self._configs.get_config_schema(request.service_name, request.key)
        return pb.GetConfigSchemaResponse(schema=convert.struct_to_pb(schema))

    async def ImportConfigs(self, request: pb.ImportConfigsRequest, call: Call) -> pb.ImportConfigsResponse:
        """Makes an environment as a document says."""
        kind = convert.FORMATS[request.format]
        document = await self._run_blocking(parse_document, request.document, kind)
        changes = await self._transfer.import_configs(
            request.environment, document, writer(call), prune=request.prune, dry_run=request.dry_run
        )
        return pb.ImportConfigsResponse(changes=[convert.change_to_pb(change) for change in changes])

    async def ExportConfigs(self, request: pb.ExportConfigsRequest, call: Call) -> pb.ExportConfigsResponse:
        """Writes an environment as a document."""
        document = await self._transfer.export_configs(request.environment)
        text = await self._run_blocking(render_document, document, convert.FORMATS[request.format])
        return pb.ExportConfigsResponse(document=text)

    async def WatchConfigs(self, request: pb.WatchConfigsRequest, call: Call) -> AsyncIterator[pb.WatchConfigsResponse]:
        """All values of a service, then each change."""
        async for item in self._configs.watch_configs(request.environment, request.service_name):
            if isinstance(item, Config):
                yield pb.WatchConfigsResponse(config=convert.config_to_pb(item))
            elif isinstance(item, End):
                yield pb.WatchConfigsResponse(end=item.reason)
            elif item:
                yield pb.WatchConfigsResponse(snapshot_complete=True)
            else:
                yield pb.WatchConfigsResponse(heartbeat=convert.time_to_pb(self._clock.now()))


def writer(call: Call) -> str:
    """The writer's user id, or a service's name."""
    return call.identity.user_id or call.identity.service or ""
