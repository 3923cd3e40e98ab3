"""`redfire compare-versions` by gRPC, on two platforms with config: the comparison, and refusals in one line."""

import json
from contextlib import AsyncExitStack

import pytest
from google.protobuf.struct_pb2 import Value
from redfire.config.v1 import config_pb2 as pb
from redfire.config.v1.config_pb2_grpc import ConfigServiceStub

from tests.commands.compare_versions.invoke import compared, document
from tests.harness import TokenMint, platform

SAME, OTHER, ABSENT = "GET /api/config/test/same/key", "GET /api/config/test/other/key", "GET /api/config/test/no/key"
TIMES = ("--ignore", "createTime", "--ignore", "updateTime", "--ignore", "updatedBy", "--ignore", "etag")


@pytest.fixture
async def two():
    """Two platforms that take the same tokens; one key has another value at the second."""
    mint = TokenMint()
    async with AsyncExitStack() as stack:
        platforms = [await stack.enter_async_context(platform("config", mint=mint)) for _ in range(2)]
        for number, one in enumerate(platforms):
            admin = one.identity(role="admin").stub(ConfigServiceStub)
            for service, value in (("same", 1), ("other", number)):
                request = pb.SetConfigRequest(environment="test", service_name=service, key="key")
                request.value.CopyFrom(Value(number_value=value))
                await admin.SetConfig(request)
        yield [one.host.address for one in platforms], mint.token("00000000-0000-0000-0000-000000000001", "admin")


async def test_answers_that_are_alike_are_no_difference_and_errors_are_answers(two, tmp_path):
    addresses, token = two
    lines = ["# what a user reads", SAME, SAME, "", ABSENT]
    found = await document(tmp_path, *addresses, lines, "--token", token, *TIMES)
    assert (found["ok"], found["requests"], found["differences"]) == (True, 2, [])
    assert found["statuses"] == {"OK": 1, "NOT_FOUND": 1} and found["left_out"] == {}


async def test_a_field_that_differs_is_named_with_both_values(two, tmp_path):
    addresses, token = two
    found = await document(tmp_path, *addresses, [SAME, OTHER], "--token", token, *TIMES)
    assert found["differences"] == [{"request": OTHER, "field": "config.value", "old": 0.0, "new": 1.0}]
    shown = await compared(tmp_path, *addresses, [SAME, OTHER], "--token", token, *TIMES)
    assert shown.exit_code == 1
    assert OTHER in shown.stdout and "config.value" in shown.stdout and "1 fields differ; 2 requests" in shown.stdout
    ignored = await document(tmp_path, *addresses, [OTHER], "--token", token, *TIMES, "--ignore", "config.value")
    assert ignored["ok"]


async def test_only_what_reads_is_sent_unless_writes_are_asked_for_and_streams_never(two, tmp_path):
    addresses, token = two
    writes = [
        'PUT /api/config/test/same/key {"value": 2}',
        "DELETE /api/config/test/same/key",
        'POST /api/users/login {"username": "a", "password": "b"}',
        "GET /api/config:watch?environment=test",
        "GET /nothing/here",
    ]
    schema = 'PUT /api/config/test/same/key/schema {"schema": {}}'
    found = await document(tmp_path, *addresses, [SAME, schema, *writes], "--token", token, *TIMES)
    assert found["requests"] == 1
    assert found["left_out"] == {"writes": 4, "streams": 1, "no route of the contract": 1}
    found = await document(tmp_path, *addresses, [schema, *writes], "--writes", "--token", token, *TIMES)
    assert (found["requests"], found["left_out"]["writes"]) == (1, 3)


async def test_an_access_log_is_asked_again_without_what_had_a_body(two, tmp_path):
    addresses, token = two
    entries = [("GET", "/api/config/test/other/key"), ("GET", "/api/config/test/other/key")]
    entries += [("POST", "/api/trading/orders:preview"), ("POST", "/redfire.config.v1.ConfigService/GetConfig")]
    log = [json.dumps({"time": str(n), "method": verb, "path": path}) for n, (verb, path) in enumerate(entries)]
    found = await document(tmp_path, *addresses, log, "--token", token, *TIMES)
    assert found["requests"] == 1
    assert found["left_out"] == {"without the body that they had": 1, "no route of the contract": 1}
    assert [one["field"] for one in found["differences"]] == ["config.value"]


async def test_a_token_that_one_does_not_take_is_told(two, tmp_path):
    addresses, token = two
    done = await compared(tmp_path, *addresses, [SAME], "--token", token, "--new-token", "another")
    assert done.exit_code == 2 and f"redfire: {addresses[1]} takes no such token" in done.stderr


@pytest.mark.parametrize(
    ("old", "lines", "words"),
    [
        ("127.0.0.1", [SAME], "neither a base URL"),
        ("ftp://127.0.0.1:1", [SAME], "neither a base URL"),
        ("127.0.0.1:1", ["GET"], "line 1: 'GET' is not a request"),
        ("127.0.0.1:1", [SAME, '{"method": "GET"}'], "line 2: this line of an access log"),
        ("127.0.0.1:1", ["# nothing"], "no request to compare"),
        ("127.0.0.1:1", ["GET /api/config:watch"], "no request to compare (1 streams)"),
    ],
)
async def test_what_cannot_be_asked_is_told_in_one_line(tmp_path, old, lines, words):
    done = await compared(tmp_path, old, "127.0.0.1:1", lines)
    assert done.exit_code == 2
    assert words in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("address", ["127.0.0.1:1", "http://127.0.0.1:1"])
async def test_a_version_that_does_not_answer_is_named(tmp_path, address):
    done = await compared(tmp_path, address, address, [SAME])
    assert done.exit_code == 1 and f"redfire: {address} does not answer {SAME}" in done.stderr
