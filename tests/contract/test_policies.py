"""Every RPC of the contract states its policy, and the server enforces just what is stated."""

import grpc
import pytest
from google.protobuf import descriptor_pool
from redfire.options.v1 import options_pb2
from redfire.options.v1.options_pb2 import (
    RATE_LIMIT_UNSPECIFIED,
    ROUTING_INSTRUMENT,
    ROUTING_UNSPECIFIED,
    ROUTING_USER,
)

from services import registry
from services.kernel.identity.identity import PERMISSIONS, ROLE_PERMISSIONS
from services.kernel.policy import EVERY_SERVICE, contract_services
from services.kernel.runtime.host import KERNEL_CALLS
from tests.contract.policies import POLICIES

ids = [policy.full_name.removeprefix("/redfire.") for policy in POLICIES]


@pytest.mark.parametrize("policy", POLICIES, ids=ids)
def test_every_rpc_states_its_policy(policy):
    assert [policy.public, bool(policy.permission), policy.internal].count(True) == 1
    assert policy.streams or policy.deadline_s
    assert policy.internal == (policy.rate_limit == RATE_LIMIT_UNSPECIFIED)
    assert not policy.permission or policy.permission in PERMISSIONS
    assert policy.routing != ROUTING_UNSPECIFIED


@pytest.mark.parametrize("policy", [p for p in POLICIES if p.routing == ROUTING_USER and p.internal])
def test_what_services_call_for_a_user_says_for_which(policy):
    assert "user_id" in request_fields(policy)


@pytest.mark.parametrize("policy", [p for p in POLICIES if p.routing == ROUTING_INSTRUMENT] or [None])
def test_what_is_routed_by_instrument_names_it(policy):
    assert policy is None or "symbol" in request_fields(policy)


def test_users_are_routed_to_the_owners_of_their_shards_where_state_is_in_memory():
    assert {p.service for p in POLICIES if p.routing == ROUTING_USER} == {"trading", "risk", "strategy"}
    changes = {
        p.name for p in POLICIES if p.service == "trading" and p.permission in ("trading:write", "trading:delete")
    }
    assert changes <= {p.name for p in POLICIES if p.routing == ROUTING_USER}


def request_fields(policy):
    service, _, method = policy.full_name[1:].partition("/")
    return descriptor_pool.Default().FindServiceByName(service).FindMethodByName(method).input_type.fields_by_name


def test_every_package_with_services_is_in_the_registry():
    assert set(contract_services()) == set(registry.SERVICES)


def test_roles_grow():
    guest, user, trader, admin = (ROLE_PERMISSIONS[r] for r in ("guest", "user", "trader", "admin"))
    assert guest < user < trader < admin


def test_only_registration_login_refresh_keys_instruments_and_the_calendar_are_public():
    public = {p.full_name.rpartition("/")[2] for p in POLICIES if p.public}
    calendar = {"ListTradingDays", "GetSession", "StreamSessions"}
    assert public == calendar | {
        "RegisterUser",
        "Login",
        "RefreshToken",
        "GetJwks",
        "ListInstruments",
        "GetInstrument",
        # Who has yet to verify an address cannot log in.
        "VerifyEmail",
        "SendEmailVerification",
    }


def test_deadlines_and_limits_are_documented_numbers():
    assert options_pb2.RATE_LIMIT_TRADING
    assert all(p.deadline_s <= 30 for p in POLICIES if p.deadline_s)
    assert grpc.__version__


HELPERS = {"worker", "verify"}
"""Callers that are no service: strategies' worker processes, and the operator's command."""


def callers_of(policy):
    return set(registry.SERVICES) if EVERY_SERVICE in policy.callers else set(policy.callers)


@pytest.mark.parametrize("policy", POLICIES, ids=ids)
def test_every_internal_rpc_names_its_callers_and_a_public_one_none(policy):
    assert policy.callers or not policy.internal
    assert not (policy.callers and policy.public)
    assert policy.callers <= set(registry.SERVICES) | HELPERS | {EVERY_SERVICE}
    for name in callers_of(policy) & set(registry.SERVICES) - {policy.service}:
        assert policy.service in (*registry.SERVICES[name].calls, *KERNEL_CALLS), f"{name} is said not to call it"


@pytest.mark.parametrize("policy", POLICIES, ids=ids)
def test_just_the_callers_that_are_named_are_admitted(policy):
    everybody = {*registry.SERVICES, "worker:1", "verify", "worker", "verify:1", "*", "", "edge", "redfire", "Trading"}
    named = callers_of(policy)
    expected = {who for who in everybody if who in named or (who == "worker:1" and "worker" in named)}
    if "verify" in named:
        expected.add("verify:1")
    assert {who for who in everybody if policy.admits(who)} == expected


def test_who_acts_for_users_says_with_which_scopes_and_is_audited():
    delegating = [p for p in POLICIES if p.delegations]
    assert [p.full_name.rpartition("/")[2] for p in delegating] == ["ExchangeToken"]
    for policy in delegating:
        assert policy.audit and policy.internal
        assert set(policy.delegations) == callers_of(policy)
        assert "scopes" in request_fields(policy)
        for scopes in policy.delegations.values():
            assert scopes and scopes <= PERMISSIONS - {"admin:all"}
