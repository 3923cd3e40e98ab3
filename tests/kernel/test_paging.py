"""Pages and their tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redfire.market.v1.market_pb2 import ListInstrumentsRequest
from redfire.reasons import Reason
from redfire.user.v1.user_pb2 import ListUsersRequest

from services.kernel.errors import Invalid
from services.kernel.paging import Page


def read(items: list[int], size: int, owner: str = "") -> list[int]:
    items_read, token = [], ""
    while True:
        page = Page.of(ListUsersRequest(page_size=size, page_token=token), owner, (int,))
        after = page.after[0] if page.after else -1
        rows = [i for i in items if i > after][: page.size + 1]
        part = page.slice(rows, lambda i: [i])
        items_read += part.items
        token = part.next_page_token
        if not token:
            return items_read


@given(st.sets(st.integers(0, 10_000), max_size=60), st.integers(1, 20))
def test_pages_joined_are_the_list(items, size):
    assert read(sorted(items), size) == sorted(items)


def test_size_defaults_to_100_and_is_clamped_to_1000():
    assert Page.of(ListUsersRequest()).size == 100
    assert Page.of(ListUsersRequest(page_size=5000)).size == 1000


@pytest.mark.parametrize(
    "other",
    [
        lambda token: (ListInstrumentsRequest(page_token=token), "alice"),
        lambda token: (ListUsersRequest(page_token=token, query="x"), "alice"),
        lambda token: (ListUsersRequest(page_token=token), "mallory"),
        lambda token: (ListUsersRequest(page_token=token[:-3]), "alice"),
        lambda token: (ListUsersRequest(page_token="nonsense"), "alice"),
        lambda token: (ListUsersRequest(page_token="bnVsbA"), "alice"),
    ],
)
def test_a_token_of_another_query_or_owner_is_refused(other):
    token = Page.of(ListUsersRequest(page_size=1), "alice").slice([1, 2], lambda i: [i]).next_page_token
    with pytest.raises(Invalid) as caught:
        Page.of(*other(token))
    assert caught.value.reason is Reason.INVALID_PAGE_TOKEN


def test_the_page_size_may_change_between_pages():
    token = Page.of(ListUsersRequest(page_size=1), "a").slice([1, 2], lambda i: [i]).next_page_token
    assert Page.of(ListUsersRequest(page_size=7, page_token=token), "a", (int,)).after == [1]


@pytest.mark.parametrize("cursor", [[], ["a"], [1, "a"], [True], [None], [1.0], [1 << 63], [-1 << 64], [[1]], [{}]])
def test_a_cursor_that_a_client_made_up_is_refused(cursor):
    token = Page.of(ListUsersRequest()).slice(range(101), lambda i: cursor).next_page_token
    with pytest.raises(Invalid):
        Page.of(ListUsersRequest(page_token=token), cursor=(int,))


@pytest.mark.parametrize("cursor", [["a\0"], ["a\ud800"], [1], [None], ["a", "b"]])
def test_by_default_a_cursor_is_one_text(cursor):
    token = Page.of(ListUsersRequest()).slice(range(101), lambda i: cursor).next_page_token
    with pytest.raises(Invalid):
        Page.of(ListUsersRequest(page_token=token))
