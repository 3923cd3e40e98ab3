"""The OpenAPI document: valid, whole, and true to the contract."""

import json
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from services.kernel.policy import descriptor_set
from services.mesh.contract import Contract
from services.mesh.generate import OPENAPI, ROOT

CONTRACT = Contract(descriptor_set())


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return json.loads((ROOT / OPENAPI).read_text())  # type: ignore[no-any-return]


@pytest.mark.slow
def test_it_is_valid(document: dict[str, Any]) -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []  # type: ignore[arg-type]


def test_it_has_every_route(document: dict[str, Any]) -> None:
    assert len(document["paths"]) > 40
    for rpc in CONTRACT.edge_rpcs:
        for route in rpc.routes:
            operation = document["paths"][route.path][route.verb]
            assert operation["operationId"].endswith("_" + rpc.policy.name)
            assert bool(operation["security"]) != rpc.policy.public
            names = {parameter["name"] for parameter in operation.get("parameters", []) if parameter["in"] == "path"}
            assert names == set(route.path_fields)


def test_it_has_no_internal_rpc(document: dict[str, Any]) -> None:
    text = json.dumps(document["paths"])
    for rpc in CONTRACT.rpcs:
        assert (rpc.policy.full_name in text) != rpc.policy.internal


def test_it_carries_comments_and_rules(document: dict[str, Any]) -> None:
    order = document["components"]["schemas"]["trading.v1.CreateOrderRequest"]
    assert order["properties"]["clientOrderId"]["pattern"]
    assert set(order["required"]) >= {"symbol", "quantity"}
    assert all(field.get("description") for field in order["properties"].values())
    side = document["components"]["schemas"]["common.v1.Side"]
    assert {"SIDE_BUY", "SIDE_SELL"} <= set(side["enum"])


def test_streams_are_documented_as_such(document: dict[str, Any]) -> None:
    content = document["paths"]["/api/market/ticks:stream"]["get"]["responses"]["200"]["content"]
    assert set(content) == {"application/json", "text/event-stream"}
