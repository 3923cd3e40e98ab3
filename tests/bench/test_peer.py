"""The peer of `tests.bench.processes` does what it is measured by: it checks, takes, publishes and fills."""

import httpx
import pytest

from tests.bench.peer.running import LIMIT_ORDER, Peer
from tests.postgres import installed_server
from tests.rabbitmq import installed_broker
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
START_S = 300.0


@pytest.fixture(scope="module")
def peer():
    postgres, broker = installed_server(), installed_broker()
    peer = Peer(postgres, broker.url)
    try:
        peer.start(START_S)
        yield peer
    finally:
        peer.stop()
        broker.close()
        postgres.close()


@pytest.fixture
async def client(peer):
    (token,) = peer.users(1)
    headers = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=peer.url, headers=headers, timeout=60) as client:
        yield client


async def create(client, key, **fields):
    return await client.post("/api/trading/orders", json={"clientOrderId": key, **LIMIT_ORDER, **fields})


async def status(client, order_id):
    return (await client.get(f"/api/trading/orders/{order_id}")).json()["status"]


async def test_a_limit_far_from_the_market_rests_and_one_that_crosses_is_filled(client):
    for key, price, end in (("rests", "3400", "ORDER_STATUS_NEW"), ("crosses", "3500", "ORDER_STATUS_FILLED")):
        answer = await create(client, key, price=price)
        assert answer.status_code == 200 and answer.json()["status"] == "ORDER_STATUS_PENDING_NEW", answer.text
        order_id = answer.json()["orderId"]

        async def reported(order_id=order_id, end=end):
            return await status(client, order_id) == end

        await until(reported, 60)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"quantity": "0"}, 422),
        ({"price": "3400.5"}, 422),
        ({"quantity": "1001"}, 422),
        ({"symbol": "zz2705.SHFE"}, 404),
        ({"reduceonly": True}, 422),
        ({"type": "ORDER_TYPE_MARKET"}, 422),
    ],
)
async def test_what_is_not_an_order_or_too_large_is_refused(client, fields, code):
    assert (await create(client, "refused", **fields)).status_code == code


async def test_a_key_is_taken_once_and_only_from_who_is_known(client):
    assert (await create(client, "once")).status_code == 200
    assert (await create(client, "once")).status_code == 409
    client.headers["authorization"] += "x"
    assert (await create(client, "unknown")).status_code == 401
