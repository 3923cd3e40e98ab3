"""Every RPC of the contract states its policy, and the server enforces just what is stated."""

import grpc
import pytest
from redfire.options.v1 import options_pb2
from redfire.options.v1.options_pb2 import RATE_LIMIT_UNSPECIFIED

from services import registry
from services.kernel.identity.identity import PERMISSIONS, ROLE_PERMISSIONS
from services.kernel.policy import contract_services
from tests.contract.policies import POLICIES

ids = [policy.full_name.removeprefix("/redfire.") for policy in POLICIES]


@pytest.mark.parametrize("policy", POLICIES, ids=ids)
def test_every_rpc_states_its_policy(policy):
    assert [policy.public, bool(policy.permission), policy.internal].count(True) == 1
    assert policy.streams or policy.deadline_s
    assert policy.internal == (policy.rate_limit == RATE_LIMIT_UNSPECIFIED)
    assert not policy.permission or policy.permission in PERMISSIONS


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
    }


def test_deadlines_and_limits_are_documented_numbers():
    assert options_pb2.RATE_LIMIT_TRADING
    assert all(p.deadline_s <= 30 for p in POLICIES if p.deadline_s)
    assert grpc.__version__
