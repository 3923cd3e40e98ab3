"""The replicas by name: whose a stream is, and calls to the others."""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from redfire.market.v1 import market_pb2, replica_service_pb2
from redfire.reasons import Reason

from services.kernel.errors import FailedPrecondition, NotFound, RedFireError, Unavailable
from services.kernel.identifiers import new_id

_STREAM_ID = re.compile("(.+)-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
RETRY_S = (0.5, 2.0)
"""The time after which a call that a replica did not answer may be tried again, from and to."""


class StreamNotFound(NotFound):
    """The stream does not exist, or is another caller's."""

    reason = Reason.STREAM_NOT_FOUND


class ReplicaUnavailable(Unavailable):
    """Another replica does not answer."""

    def __init__(self, name: str) -> None:
        super().__init__(f"replica {name} of market does not answer", replica=name)
        self.retry_after_s = _retry_after_s()


class RecorderUnavailable(Unavailable):
    """The replica that makes bars and records does not answer: only ticks are available here."""

    reason = Reason.RECORDER_UNAVAILABLE

    def __init__(self, name: str) -> None:
        which = f"replica {name} of market, which makes bars and records, does not answer"
        super().__init__(which if name else "no replica of market makes bars and records at present", replica=name)
        self.retry_after_s = _retry_after_s()


class NotTheRecorder(FailedPrecondition):
    """This replica makes no bars and records nothing."""

    reason = Reason.RECORDER_UNAVAILABLE


class Recorder(Protocol):
    """The replica that records, as others ask it."""

    moved: tuple[type[RedFireError], ...]
    """Answers by which one that was asked says that another one records by now."""

    @property
    def name(self) -> str:
        """Its name, or where it is; for people."""

    def stub(self) -> Any:
        """Its ReplicaService. Raises RecorderUnavailable while there is none."""


class FixedRecorder:
    """The replica that the settings name."""

    moved: tuple[type[RedFireError], ...] = ()

    def __init__(self, name: str, stub: Any) -> None:
        self.name = name
        self._stub = stub

    def stub(self) -> Any:
        """Its ReplicaService."""
        return self._stub


class LeasedRecorder:
    """The replica that holds the lease, as it is known here."""

    moved: tuple[type[RedFireError], ...] = (FailedPrecondition,)

    def __init__(
        self, address: Callable[[], str | None], names: Mapping[str, str], make_stub: Callable[[str], Any]
    ) -> None:
        """`address` is that of the holder, None where it is not known; `names` those of replicas by address."""
        self._address = address
        self._names = names
        self._make_stub = make_stub
        self._stubs: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """The holder's name, or its address."""
        address = self._address()
        return self._names.get(address, address) if address else ""

    def stub(self) -> Any:
        """The holder's ReplicaService, its own too. Raises RecorderUnavailable while nobody holds the lease."""
        address = self._address()
        if not address:
            raise RecorderUnavailable("")
        if address not in self._stubs:
            self._stubs[address] = self._make_stub(address)
        return self._stubs[address]


class Replicas:
    """This replica's name, and the others as they are called. `stubs` are those of ReplicaService."""

    def __init__(self, name: str, stubs: Mapping[str, Any]) -> None:
        self.name = name
        self._stubs = stubs

    def new_stream_id(self) -> str:
        """An id for a stream of this replica."""
        return f"{self.name}-{new_id()}"

    def find_other(self, stream_id: str) -> str:
        """The name of the other replica that a stream is of; empty for this one, or where it is of none.

        Raises: StreamNotFound for that of a replica that is not known.
        """
        match = _STREAM_ID.fullmatch(stream_id)
        if match is None or match[1] == self.name:
            return ""
        if match[1] not in self._stubs:
            text = f"stream {stream_id} not found: there is no replica {match[1]} of market"
            raise StreamNotFound(message=text, replica=match[1])
        return match[1]

    async def update_stream(
        self, name: str, owner: str, stream_id: str, added: Sequence[str], removed: Sequence[str], *, starts_feed: bool
    ) -> list[str]:
        """Change the symbols of the owner's stream at another replica; the symbols it has now, sorted.

        Raises: ReplicaUnavailable, and what that replica raises.
        """
        update = market_pb2.UpdateSubscriptionRequest(stream_id=stream_id, add_symbols=added, remove_symbols=removed)
        request = replica_service_pb2.UpdateStreamRequest(owner=owner, update=update, starts_feed=starts_feed)
        try:
            return list((await self._stubs[name].UpdateStream(request)).symbols)
        except Unavailable as error:
            raise ReplicaUnavailable(name) from error


def _retry_after_s() -> float:
    # Those that are refused together should not come again together.
    return round(random.uniform(*RETRY_S), 3)  # noqa: S311 # nosec B311
