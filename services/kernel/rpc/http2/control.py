"""h2's part of a connection: all of HTTP/2 but the DATA frames, which streams write by hand."""

from functools import lru_cache, partial

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes, Settings
from hpack import hpack
from hpack.huffman_table import decode_huffman

MAX_STREAMS = 4096
HEADER_BYTES = 48 * 1024

REMEMBERED, REMEMBERED_BYTES = 2048, 2048
"""Values of headers whose Huffman code is not decoded again, and the length up to which one is remembered."""

_remembered = lru_cache(REMEMBERED)(decode_huffman)


def _decode_huffman(code: bytes) -> bytes:
    """Decode as hpack does, in Python and by half bytes: a token took a fifth of the time of its stream's opening.

    A proxy sends it as a literal with each of a client's calls.
    """
    return _remembered(code) if len(code) <= REMEMBERED_BYTES else decode_huffman(code)


hpack.decode_huffman = _decode_huffman  # type: ignore[attr-defined, assignment]


class Control(H2Connection):
    """h2's connection, which can be that of many clients by a proxy."""

    def __init__(self) -> None:
        # For a header that is wrong h2 ends the connection, of all who come by the same proxy: Stream looks at headers.
        config = H2Configuration(client_side=False, header_encoding="latin-1", validate_inbound_headers=False)
        config.normalize_inbound_headers = config.validate_outbound_headers = config.normalize_outbound_headers = False
        super().__init__(config)
        limits = {SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS, SettingCodes.MAX_HEADER_LIST_SIZE: HEADER_BYTES}
        self.local_settings = Settings(client=False, initial_values=limits)
        self.decoder.max_header_list_size = HEADER_BYTES
        # Huffman's code would take a fifth of the time of a refusal.
        self.encoder.encode = partial(self.encoder.encode, huffman=False)  # type: ignore[method-assign]

    @property
    def open_inbound_streams(self) -> int:
        """None: ours are counted by Connection. h2 would look at all of them for each new one."""
        return 0
