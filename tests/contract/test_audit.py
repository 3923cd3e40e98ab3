"""Every RPC that changes something has a record, or a reason here for which it has none."""

import inspect
import json

import pytest
from google.protobuf import struct_pb2
from redfire.auth.v1 import auth_pb2
from redfire.trading.v1 import order_service_pb2

from services.commands.admin import admin
from services.kernel.audit.draft import act_of
from services.kernel.audit.redaction import REDACTED, is_secret_name, redact, request_fragment, request_of
from tests.contract.policies import POLICIES

READS = ("Compute", "Diff", "Export", "Get", "List", "Lookup", "Preview", "Query", "Read", "Stream", "Watch")
# By RPC: why a call has no record of its own.
EXEMPT = {
    "auth.AuthService/ExchangeToken": "for strategies; the start of the strategy is recorded",
    "auth.AuthService/CheckRecentPassword": "reads when the password was given last",
    "auth.AuthService/VerifyApiKey": "reads, and notes when the key was used last",
    "auth.AuthService/RevokeUserSessions": "carries out what user recorded",
    "engine.EngineService/SendOrder": "carries out what trading recorded",
    "engine.EngineService/CancelOrder": "carries out what trading recorded",
    "engine.EngineService/AmendOrder": "carries out what trading recorded",
    "engine.EngineService/Subscribe": "market's own subscriptions",
    "engine.EngineService/Unsubscribe": "market's own subscriptions",
    "engine.EngineService/AcknowledgeTicks": "a position in a stream",
    "market.MarketService/UpdateSubscription": "the symbols of the caller's own stream",
    "market.ReplicaService/UpdateStream": "the symbols of the caller's own stream",
    "risk.RiskService/CheckOrder": "part of an order that trading records",
    "risk.RiskService/CheckCancel": "part of a cancellation that trading records",
    "risk.RiskService/ReleaseOrders": "part of an order that trading records",
    "strategy.WorkerService/ReportStrategies": "a worker's heartbeat",
    "strategy.WorkerService/ReportClasses": "a worker's heartbeat",
    "trading.ReconciliationService/Reconcile": "asks the venue; what it books is in the books, with its cause",
    "user.UserService/SendEmailVerification": "sends a code, whose use is recorded",
    "user.UserService/VerifyPassword": "part of a login that auth records",
}


def short(policy):
    return policy.full_name.removeprefix("/redfire.").replace(".v1.", ".")


@pytest.mark.parametrize("policy", POLICIES, ids=short)
def test_what_changes_something_has_a_record_or_a_reason(policy):
    reads = policy.name.startswith(READS)
    assert policy.audit or reads or short(policy) in EXEMPT


def test_every_reason_is_of_an_rpc_that_has_no_record():
    assert set(EXEMPT) <= {short(policy) for policy in POLICIES}


@pytest.mark.parametrize("policy", [policy for policy in POLICIES if policy.audit], ids=short)
def test_a_record_holds_no_field_of_a_request_that_is_named_like_a_secret(policy):
    from google.protobuf import descriptor_pool, message_factory

    service, _, name = policy.full_name[1:].partition("/")
    descriptor = descriptor_pool.Default().FindServiceByName(service).FindMethodByName(name).input_type
    request = message_factory.GetMessageClass(descriptor)()
    secret = [
        f
        for f in descriptor.fields
        if f.type == f.TYPE_STRING and (is_secret_name(f.name) or f.GetOptions().debug_redact)
    ]
    for field in secret:
        setattr(request, field.name, "hunter2")
    kept = act_of(policy.full_name).fragment(request, request.SerializeToString())
    assert "hunter2" not in kept
    assert kept.count(REDACTED) == len(secret)


@pytest.mark.parametrize("name", sorted(admin.commands))
def test_every_command_of_the_operator_has_a_record(name):
    source = inspect.getsource(admin.commands[name].callback)
    assert f'with commanded("redfire admin {name}"' in source


def test_passwords_tokens_and_codes_are_secrets_in_every_language_and_ids_are_none():
    names = (
        "password",
        "oldPassword",
        "new_password",
        "refreshToken",
        "secret",
        "api_key",
        "apiKey",
        "密码",
        "授权编码",
        "pwd",
    )
    assert all(is_secret_name(name) for name in names)
    assert not any(is_secret_name(name) for name in ("api_key_id", "page_token", "session_id", "symbol", "order_id"))


def test_what_looks_like_a_secret_is_left_out_wherever_it_stands():
    value = {"url": "postgresql://redfire:hunter2@db/x", "list": [{"密码": "hunter2"}, "eyJhbGci.eyJzdWIi.c2ln"]}
    assert redact(value) == {"url": REDACTED, "list": [{"密码": REDACTED}, REDACTED]}
    assert redact({"password": {"secret": "ctp-password"}}) == {"password": {"secret": "ctp-password"}}


@pytest.mark.parametrize("seconds", [10**15, -(10**15)])
def test_values_that_have_no_json_are_recorded_as_such(seconds):
    wrong = struct_pb2.Struct()
    wrong["window"] = float("nan")
    late = auth_pb2.CreateApiKeyRequest(display_name="bot")
    late.expire_time.seconds = seconds
    plain = order_service_pb2.ListOrdersRequest()
    plain.start_time.seconds = seconds
    for request in (wrong, late, plain):
        kept = request_fragment(request.DESCRIPTOR)(request, request.SerializeToString())
        read = request_of(request.DESCRIPTOR, json.loads(kept))
        assert "unreadable" in read and read["size_bytes"] == request.ByteSize()
