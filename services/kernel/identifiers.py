"""New identifiers: UUIDs of version 7 (RFC 9562), which sort by the time they were made."""

import random
import threading
import time

REQUEST_ID_LENGTH = 128
"""Characters that are kept and given back of an x-request-id, however long a client makes it."""
REQUEST_ID_FORM = "[A-Za-z0-9][A-Za-z0-9._:/+=@-]*"
"""Regular expression of an x-request-id as a whole: it goes into logs, answers and databases."""
TRACEPARENT_FORM = "[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]*)?"
"""Regular expression of what may be a traceparent (W3C Trace Context); services look more closely."""
_lock = threading.Lock()
_last = 0


def new_id() -> str:
    """A UUIDv7; within a process each is greater than the one before, also within a millisecond."""
    global _last
    with _lock:
        # 48 bits of milliseconds and 12 bits of their fraction, as RFC 9562 §6.2 method 3 allows.
        now = time.time_ns() * 4096 // 1_000_000
        _last = now = max(now, _last + 1)
    # Names, not secrets; os.urandom would release the GIL each time.
    value = (now >> 12) << 80 | 0x7 << 76 | (now & 0xFFF) << 64 | 0x2 << 62 | random.getrandbits(62)  # nosec B311
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
