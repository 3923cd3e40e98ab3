"""Slows failed logins, by name and by address, in bounded memory; successful ones cost nothing.

Three counts, each with failures that are free, then a pause that doubles from one second up to a limit:
a name from one address (strict), an address whatever the names (wide, offices share one), and a name from anywhere
(gentle, and not for addresses from where its owner logged in lately: nobody can be locked out from elsewhere).
A device from which the owner has logged in has a count of its own instead of all three: nobody can lock it out.
"""

from collections import OrderedDict
from dataclasses import dataclass

from services.auth.settings import AuthSettings
from services.kernel.cache import TtlCache
from services.kernel.client_network import network_of
from services.kernel.clock import Clock
from services.kernel.errors import ResourceExhausted
from services.kernel.runtime.live_settings import LiveSettings

MAX_KEYS = 20_000
KNOWN_FOR_S = 30 * 86_400.0


class TooManyLogins(ResourceExhausted):
    """Too many failed logins; wait before the next."""


@dataclass(slots=True)
class _Record:
    failures: int
    counted_at: float
    not_before: float


@dataclass(frozen=True, slots=True)
class _Rule:
    free: int
    max_delay_s: float
    forget_s: float

    def level(self, record: _Record, now: float) -> int:
        """The failures that are not forgotten yet."""
        return max(0, record.failures - int((now - record.counted_at) / self.forget_s))

    def delay_s(self, level: int) -> float:
        """The pause after so many failures."""
        if level < self.free:
            return 0.0
        return min(self.max_delay_s, 2.0 ** min(level - self.free, 60))


class FailureCount:
    """Failures by key; beyond `MAX_KEYS` the longest untouched are forgotten."""

    def __init__(self) -> None:
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def wait_s(self, key: str, now: float) -> float:
        """Seconds that the next attempt has to wait."""
        record = self._records.get(key)
        return max(0.0, record.not_before - now) if record else 0.0

    def claim(self, key: str, now: float, rule: _Rule) -> None:
        """An attempt begins: where failures are slowed, others wait for its outcome."""
        if record := self._records.get(key):
            record.not_before = max(record.not_before, now + rule.delay_s(rule.level(record, now)))

    def release(self, key: str, now: float) -> None:
        """The attempt succeeded: nobody has to wait for it."""
        if record := self._records.get(key):
            record.not_before = min(record.not_before, now)

    def add(self, key: str, now: float, rule: _Rule) -> None:
        """The attempt failed."""
        record = self._records.pop(key, None) or _Record(0, now, now)
        before = rule.level(record, now)
        # What is left of the time after which the next failure is forgotten goes on.
        counted_at = record.counted_at + (record.failures - before) * rule.forget_s if before else now
        self._records[key] = _Record(before + 1, counted_at, now + rule.delay_s(before + 1))
        if len(self._records) > MAX_KEYS:
            self._records.popitem(last=False)

    def forget(self, key: str) -> None:
        """Start again from none."""
        self._records.pop(key, None)

    def __len__(self) -> int:
        return len(self._records)


class LoginThrottle:
    """Says whether a login may be tried now: `admit`, then `failed` or `succeeded`."""

    def __init__(self, settings: LiveSettings[AuthSettings], clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._pairs = FailureCount()
        self._addresses = FailureCount()
        self._names = FailureCount()
        self._devices = FailureCount()
        self._known: TtlCache[str, bool] = TtlCache(MAX_KEYS, KNOWN_FOR_S, clock)

    def admit(self, username: str, client_address: str, device: str = "") -> None:
        """Raises TooManyLogins, with the time to wait. `device` is one that is known for this name, or empty."""
        now = self._clock.monotonic()
        counts = self._counts(username, client_address, device)
        wait_s = max(count.wait_s(key, now) for count, key, _ in counts)
        if wait_s > 0:
            raise TooManyLogins(retry_after_s=round(wait_s, 3))
        for count, key, rule in counts:
            count.claim(key, now, rule)

    def withdraw(self, username: str, client_address: str, device: str = "") -> None:
        """The attempt that was admitted is not made."""
        now = self._clock.monotonic()
        for count, key, _ in self._counts(username, client_address, device):
            count.release(key, now)

    def failed(self, username: str, client_address: str, device: str = "") -> None:
        """The password was wrong, or there is no such name: it counts alike."""
        now = self._clock.monotonic()
        for count, key, rule in self._counts(username, client_address, device):
            count.add(key, now, rule)

    def succeeded(self, username: str, client_address: str, device: str = "") -> None:
        """The password was right."""
        now = self._clock.monotonic()
        for count, key, _ in self._counts(username, client_address, device):
            count.release(key, now)
        pair = _pair(username, client_address)
        if device:
            self._devices.forget(device)
        else:
            self._pairs.forget(pair)
        self._known.put(pair, True)

    def _counts(self, username: str, client_address: str, device: str) -> list[tuple[FailureCount, str, _Rule]]:
        s = self._settings.value
        strict = _Rule(s.login_free_failures, s.login_max_delay_s, s.login_forget_s)
        if device:
            return [(self._devices, device, strict)]
        pair = _pair(username, client_address)
        counts = [
            (self._pairs, pair, strict),
            (
                self._addresses,
                network_of(client_address),
                _Rule(s.login_address_free_failures, s.login_address_max_delay_s, s.login_forget_s / 10),
            ),
        ]
        if self._known.get(pair) is None:
            rule = _Rule(s.login_account_free_failures, s.login_account_max_delay_s, s.login_forget_s)
            counts.append((self._names, name_of(username), rule))
        return counts


def name_of(username: str) -> str:
    """The name that failures count for, whatever its case."""
    return username.strip().casefold()


def _pair(username: str, client_address: str) -> str:
    return f"{name_of(username)}|{network_of(client_address)}"
