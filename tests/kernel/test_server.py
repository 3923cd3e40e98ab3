"""Authorization, the wrapper of methods and the channels, seen from a client."""

import asyncio

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from redfire.config.v1 import config_pb2, config_pb2_grpc
from redfire.reasons import Reason

from services.kernel.errors import Aborted, Denied, Invalid, NotFound, Unauthenticated, Unsupported
from services.kernel.rpc.call import Call, Origin
from services.kernel.rpc.channels import Channels, LocalChannel
from tests.harness import FakeService, complete, platform, service_tokens
from tests.machine import free_port
from tests.waiting import until

WHERE = {"environment": "development", "service_name": "risk", "key": "max"}


@complete
class Configs(config_pb2_grpc.ConfigServiceServicer):
    """Answers by key, so that a test can ask for any outcome."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.closed = asyncio.Event()

    async def GetConfig(self, request, call):
        self.calls.append(call)
        match request.key:
            case "missing":
                raise NotFound("config", "missing", environment=request.environment)
            case "raced":
                raise Aborted("changed meanwhile", etag="7")
            case "broken":
                raise RuntimeError("the password is hunter2")
            case "slow":
                await asyncio.Event().wait()
        return config_pb2.GetConfigResponse(config=config_pb2.Config(key=request.key, version=3))

    async def SetConfig(self, request, call):
        raise Aborted("changed meanwhile", etag="7")

    async def WatchConfigs(self, request, call):
        try:
            yield config_pb2.WatchConfigsResponse(snapshot_complete=True).SerializeToString()
            yield config_pb2.WatchConfigsResponse(config=config_pb2.Config(key="a"))
            await asyncio.Event().wait()
        finally:
            self.closed.set()


@pytest.fixture
async def served():
    configs = Configs()
    async with platform(fakes={"config": FakeService(lambda _: [configs])}) as p:
        p.configs = configs
        yield p


def get(key: str = "max") -> config_pb2.GetConfigRequest:
    return config_pb2.GetConfigRequest(**{**WHERE, "key": key})


def error_info(failure: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo:
    info = error_details_pb2.ErrorInfo()
    for detail in rpc_status.from_call(failure).details:
        if detail.Unpack(info):
            return info
    raise AssertionError("no ErrorInfo")


async def failure_of(call) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_without_a_token_it_is_unauthenticated(served):
    failure = await failure_of(served.stub(config_pb2_grpc.ConfigServiceStub).GetConfig(get()))
    assert failure.code() is grpc.StatusCode.UNAUTHENTICATED
    assert error_info(failure).reason == "UNAUTHENTICATED"


async def test_without_the_permission_it_is_denied_and_named(served):
    failure = await failure_of(served.identity(role="trader").stub(config_pb2_grpc.ConfigServiceStub).GetConfig(get()))
    assert failure.code() is grpc.StatusCode.PERMISSION_DENIED
    assert error_info(failure).metadata["permission"] == "config:read"


async def test_an_admin_is_let_through_and_the_handler_knows_who_calls(served):
    admin = served.identity(role="admin")
    answer = await admin.stub(config_pb2_grpc.ConfigServiceStub).GetConfig(get())
    assert answer.config.version == 3
    assert served.configs.calls[-1].user_id == admin.user_id


@pytest.mark.parametrize("token", ["nonsense", "a.b.c", "eyJhbGciOiJub25lIn0.e30."])
async def test_a_token_that_is_none_is_refused(served, token):
    failure = await failure_of(served.stub(config_pb2_grpc.ConfigServiceStub, token).GetConfig(get()))
    assert failure.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_an_expired_token_is_refused_also_when_it_was_known(served):
    admin = served.identity(role="admin", life_s=2)
    stub = admin.stub(config_pb2_grpc.ConfigServiceStub)
    await stub.GetConfig(get())

    async def refused():
        try:
            await stub.GetConfig(get())
        except grpc.aio.AioRpcError as failure:
            return error_info(failure).reason
        return None

    assert await until(refused) == "TOKEN_EXPIRED"


@pytest.mark.parametrize("path", ["/redfire.config.v1.ConfigService/NoSuch", "/redfire.no.v1.Such/Get", "/x"])
async def test_an_rpc_that_there_is_not_is_refused_with_a_reason(served, path):
    channel = served.channel
    for call in (channel.unary_unary(path)(b"\xff"), channel.unary_stream(path)(b"").read()):
        failure = await failure_of(call)
        assert failure.code() is grpc.StatusCode.UNIMPLEMENTED
        assert error_info(failure).reason == "UNSUPPORTED"
        assert path in failure.details()


async def test_a_broken_rule_of_the_contract_names_the_field(served):
    stub = served.identity(role="admin").stub(config_pb2_grpc.ConfigServiceStub)
    failure = await failure_of(
        stub.GetConfig(config_pb2.GetConfigRequest(environment="NO", service_name="risk", key="x"))
    )
    assert failure.code() is grpc.StatusCode.INVALID_ARGUMENT
    bad = error_details_pb2.BadRequest()
    assert any(d.Unpack(bad) for d in rpc_status.from_call(failure).details)
    assert [v.field for v in bad.field_violations] == ["environment"]


async def test_errors_carry_reason_and_metadata_and_unknown_ones_are_masked(served):
    stub = served.identity(role="admin").stub(config_pb2_grpc.ConfigServiceStub)
    failure = await failure_of(stub.GetConfig(get("missing")))
    assert (failure.code(), error_info(failure).reason) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
    assert error_info(failure).metadata["environment"] == "development"
    failure = await failure_of(stub.GetConfig(get("broken")))
    assert failure.code() is grpc.StatusCode.INTERNAL
    assert "hunter2" not in str(failure)


async def test_the_callers_deadline_ends_the_handler(served):
    stub = served.identity(role="admin").stub(config_pb2_grpc.ConfigServiceStub)
    failure = await failure_of(stub.GetConfig(get("slow"), timeout=0.1))
    assert failure.code() is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("kind", ["local", "network"])
async def test_peers_raise_the_same_errors_locally_and_over_the_network(served, kind):
    if kind == "local":
        channel = LocalChannel(served.host.handlers, "risk")
    else:
        served.host.channels._addresses = {"config": served.host.address}
        channel = served.host.channels.to("config", "risk")
    stub = config_pb2_grpc.ConfigServiceStub(channel)
    with pytest.raises(NotFound) as caught:
        await stub.GetConfig(get("missing"))
    assert caught.value.reason is Reason.NOT_FOUND
    assert caught.value.metadata["environment"] == "development"
    with pytest.raises(Invalid) as invalid:
        await stub.GetConfig(get("no spaces"))
    assert "key" in invalid.value.fields
    with pytest.raises(Aborted):
        await stub.GetConfig(get("raced"))
    answer = await stub.GetConfig(get())
    assert answer.config.version == 3
    received = []
    async for message in stub.WatchConfigs(
        config_pb2.WatchConfigsRequest(environment="development", service_name="risk")
    ):
        received.append(message.WhichOneof("event"))
        if len(received) == 2:
            break
    assert received == ["snapshot_complete", "config"]


async def test_a_peer_is_called_though_another_channel_saw_nobody_at_its_address(served):
    attempts, port = [], free_port()
    refusing = await asyncio.start_server(lambda _, writer: (attempts.append(1), writer.close()), "127.0.0.1", port)
    addresses = {"config": f"127.0.0.1:{port}"}
    earlier, later = (Channels(served.host.handlers, service_tokens(), frozenset(), addresses) for _ in range(2))
    earlier._open("config", addresses["config"]).get_state(try_to_connect=True)
    await until(lambda: len(attempts) > 6, timeout_s=60)  # so that it waits for a second and more until the next one
    refusing.close()
    await refusing.wait_closed()
    server = grpc.aio.server()
    server.add_insecure_port(addresses["config"])
    await server.start()
    try:
        with pytest.raises(Unsupported):  # nobody's RPC, but an answer
            await config_pb2_grpc.ConfigServiceStub(later.to("config", "risk")).SetConfig(
                config_pb2.SetConfigRequest(**WHERE), timeout=20
            )
    finally:
        await asyncio.gather(earlier.close(), later.close())
        await server.stop(None)


async def test_a_client_that_leaves_ends_the_stream(served):
    stub = served.identity(role="admin").stub(config_pb2_grpc.ConfigServiceStub)
    stream = stub.WatchConfigs(config_pb2.WatchConfigsRequest(environment="development", service_name="risk"))
    await stream.read()
    assert not served.configs.closed.is_set()
    stream.cancel()
    await until(served.configs.closed.is_set)


async def test_a_revoked_session_is_refused_and_its_streams_end(served):
    admin = served.identity(role="admin", session_id="s-1")
    stub = admin.stub(config_pb2_grpc.ConfigServiceStub)
    stream = stub.WatchConfigs(config_pb2.WatchConfigsRequest(environment="development", service_name="risk"))
    await stream.read()
    served.host.revocations.add("s-1", 2e12)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        while await stream.read() is not grpc.aio.EOF:
            pass
    assert error_info(caught.value).reason == "SESSION_REVOKED"
    failure = await failure_of(stub.GetConfig(get()))
    assert error_info(failure).reason == "SESSION_REVOKED"


async def test_a_session_that_ends_while_an_item_is_sent_ends_the_stream_with_its_status_after_it(served):
    handler = served.host.handlers.by_path["/redfire.config.v1.ConfigService/WatchConfigs"]
    token = served.identity(role="admin", session_id="s-2").token
    request = config_pb2.WatchConfigsRequest(environment="development", service_name="risk")
    stream = handler.invoke(request, Origin({"authorization": f"Bearer {token}"}, None, "ipv4:127.0.0.1:1"))
    await anext(stream)
    served.host.revocations.add("s-2", 2e12)
    await asyncio.sleep(0)  # a cancellation would be raised here, in what sends the item
    with pytest.raises(Unauthenticated) as caught:
        assert (await anext(stream)).end == Reason.SESSION_REVOKED
        await anext(stream)
    assert caught.value.reason == Reason.SESSION_REVOKED
    assert served.configs.closed.is_set()


async def test_a_service_calls_only_what_the_contract_names_it_for(served):
    request = config_pb2.WatchConfigsRequest(environment="development", service_name="risk")
    stub = served.service_stub(config_pb2_grpc.ConfigServiceStub, "market")
    assert (await stub.WatchConfigs(request).read()) is not grpc.aio.EOF
    for refused in (
        stub.SetConfig(config_pb2.SetConfigRequest(environment="development", service_name="risk")),
        served.service_stub(config_pb2_grpc.ConfigServiceStub, "nobody").WatchConfigs(request).read(),
    ):
        assert (await failure_of(refused)).code() is grpc.StatusCode.PERMISSION_DENIED
    forged = served.stub(config_pb2_grpc.ConfigServiceStub, x_redfire_service="nonsense")
    assert (await failure_of(forged.GetConfig(get()))).code() is grpc.StatusCode.UNAUTHENTICATED


async def test_bytes_that_are_no_message_are_invalid(served):
    token = served.identity(role="admin").token
    for path, kind in (("GetConfig", "unary_unary"), ("WatchConfigs", "unary_stream")):
        rpc = getattr(served.channel, kind)(f"/redfire.config.v1.ConfigService/{path}")
        call = rpc(b"\xff\xff\xff", metadata=(("authorization", f"Bearer {token}"),))
        failure = await failure_of(call if kind == "unary_unary" else call.read())
        assert failure.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_service_that_lacks_an_rpc_does_not_start():
    class Half(config_pb2_grpc.ConfigServiceServicer):
        async def GetConfig(self, request, call):
            raise Denied

    with pytest.raises(ValueError, match="not implemented"):
        async with platform(fakes={"config": FakeService(lambda _: [Half()])}):
            pass


TRACE = f"00-{'a' * 32}-{'b' * 16}-01"


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (TRACE, TRACE),
        (f"01-{TRACE[3:]}-of-a-later-version", f"01-{TRACE[3:]}"),
        (f"{TRACE}-{'x' * 5000}", ""),
        (f"00-{'z' * 32}-{'b' * 16}-01", ""),
        (f"00-{'0' * 32}-{'b' * 16}-01", ""),
        (f"{'0' * 5000}-{TRACE[3:]}", ""),
        (f"ff-{TRACE[3:]}", ""),
    ],
)
def test_a_traceparent_is_taken_only_where_it_is_one(given, taken):
    own = Origin({"traceparent": given}).call("/x").traceparent
    assert own == taken if taken else own != given and len(own) == len(TRACE)


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("0198-a.b_c:d/e+f=@g", True),
        ("r" * 3000, True),
        ("", False),
        ("é", False),
        ("a b", False),
        ('"><script>', False),
        ("a\x1b[31m", False),
        ("${jndi:x}", False),
        ("-rf", False),
    ],
)
def test_a_request_id_is_taken_only_where_it_is_one(given, taken):
    own = Origin({"x-request-id": given}).call("/x").request_id
    assert own and len(own) <= 128
    assert given.startswith(own) is taken
