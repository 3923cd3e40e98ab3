"""Refusals of calls, as the errors that the kernel makes of them."""

from collections.abc import Awaitable
from typing import Any

import grpc
import pytest

from services.kernel.errors import RedFireError
from services.kernel.rpc.status import from_rpc_error


async def refused(call: Awaitable[Any]) -> RedFireError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value)
