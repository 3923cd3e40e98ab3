"""The writer of HTTP/2 under many calls at once: one connection is read in a turn of the loop, tokens decoded once."""

import asyncio

import pytest
from hpack import Encoder, HPACKDecodingError, hpack
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.rpc.http2 import control
from services.kernel.rpc.http2.reads import Reads


async def test_of_all_connections_one_is_read_in_a_turn_of_the_loop() -> None:
    reads, order = Reads(), []
    for name in "abc":
        reads.wait(lambda name=name: order.append(name))
    reads.wait(lambda: reads.wait(lambda: order.append("again")))
    seen = []
    for _ in range(6):
        await asyncio.sleep(0)
        seen.append("".join(order))
    assert seen == ["a", "ab", "abc", "abc", "abcagain", "abcagain"]
    reads.wait(lambda: order.append("later"))
    await asyncio.sleep(0)
    assert order[-1] == "later"


@given(st.binary(max_size=3 * control.REMEMBERED_BYTES))
def test_what_is_remembered_of_huffmans_code_is_what_hpack_decodes(value: bytes) -> None:
    code = Encoder().huffman_coder.encode(value)
    assert hpack.decode_huffman(code) == hpack.decode_huffman(code) == value


def test_a_code_that_is_none_is_refused_each_time_and_long_ones_are_not_kept() -> None:
    for _ in range(2):
        with pytest.raises(HPACKDecodingError):
            hpack.decode_huffman(b"\xff" * 64)
    kept = control._remembered.cache_info().currsize
    assert hpack.decode_huffman(Encoder().huffman_coder.encode(b"a" * 48_000)) == b"a" * 48_000
    assert control._remembered.cache_info().currsize == kept
