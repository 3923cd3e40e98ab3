"""Policies of RPCs, as the mesh reads them."""

import pytest

from services.kernel.policy import descriptor_set
from services.mesh.contract import Contract, Rpc
from services.registry import SERVICES

CONTRACT = Contract(descriptor_set())


@pytest.mark.parametrize("rpc", CONTRACT.rpcs, ids=lambda rpc: rpc.policy.full_name)
def test_every_rpc_states_its_policy(rpc: Rpc) -> None:
    policy = rpc.policy
    assert [policy.public, bool(policy.permission), policy.internal].count(True) == 1
    assert (policy.deadline_s is None) == policy.streams
    assert bool(policy.rate_limit) != policy.internal
    assert bool(rpc.routes) != policy.internal
    assert rpc.method.full_name in CONTRACT.comments


def test_no_two_rpcs_share_a_route() -> None:
    routes = [(route.verb, route.path) for rpc in CONTRACT.rpcs for route in rpc.routes]
    assert len(routes) == len(set(routes))


def test_bodies_are_whole_requests_and_only_where_something_changes() -> None:
    for rpc in CONTRACT.rpcs:
        for route in rpc.routes:
            assert route.body == ("*" if route.verb in ("post", "put", "patch") else ""), route


def test_path_fields_are_fields_of_the_request() -> None:
    for rpc in CONTRACT.rpcs:
        for route in rpc.routes:
            assert set(route.path_fields) <= set(rpc.method.input_type.fields_by_name), route


def test_comments_go_by_full_name() -> None:
    assert CONTRACT.comments["redfire.auth.v1.LoginRequest.password"] == "The password."


def test_the_registry_has_every_service_of_the_contract() -> None:
    assert set(SERVICES) == set(CONTRACT.services)
