"""Rules of the second factor: when its codes are asked for, how often they may be tried, and what replaces them."""

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from redfire.reasons import Reason

from services.auth.second_factor import totp
from services.auth.second_factor.repository import SecondFactor, SecondFactorRepository
from services.auth.second_factor.secret_box import SecretBox
from services.auth.settings import AuthSettings
from services.auth.tokens import hash_of
from services.kernel.clock import Clock
from services.kernel.data.repositories import Repositories
from services.kernel.errors import FailedPrecondition, ResourceExhausted, Unauthenticated
from services.kernel.redis.counts import SharedCounts
from services.kernel.runtime.live_settings import LiveSettings

RECOVERY_CODES = 10
# 80 random bits in letters that nobody mistakes for others: so a hash without salt is enough.
RECOVERY_LETTERS, RECOVERY_LENGTH = "abcdefghjkmnpqrstuvwxyz23456789", 16
PENDING = timedelta(minutes=15)
# Of a million codes three are good at a time: with so few tries guessing takes years also with the password.
WRONG_CODES, WRONG_CODES_WINDOW_S = 10, 900.0


class SecondFactorRequired(Unauthenticated):
    """The password is right: send a code of the authenticator app, or a recovery code, in the field code."""

    reason = Reason.SECOND_FACTOR_REQUIRED


class WrongCode(Unauthenticated):
    """Wrong code, or one that was used before."""

    reason = Reason.INVALID_CREDENTIALS


class NoSecondFactor(FailedPrecondition):
    """There is no second factor to do this with."""


class SecondFactorEnabled(FailedPrecondition):
    """There is a second factor: disable it first."""


class SecondFactorDemanded(FailedPrecondition):
    """A second factor is demanded of the role."""

    reason = Reason.SECOND_FACTOR_REQUIRED


class SecondFactorService:
    """Authenticator apps and recovery codes of users."""

    def __init__(
        self,
        factors: Repositories[SecondFactorRepository],
        box: SecretBox,
        wrong_codes: SharedCounts,
        settings: LiveSettings[AuthSettings],
        clock: Clock,
    ) -> None:
        self._factors = factors
        self._box = box
        self._wrong_codes = wrong_codes
        self._settings = settings
        self._clock = clock

    def is_demanded(self, role: str) -> bool:
        """Test for a role of which the settings demand a second factor."""
        demand = self._settings.value.second_factor
        return demand == "all" or (demand == "admin" and role == "admin")

    async def is_enabled(self, user_id: str) -> bool:
        """Test for a second factor that counts."""
        return (await self._confirmed(user_id)) is not None

    async def enabled_since(self, user_id: str) -> datetime | None:
        """The time from which the second factor counts; None where there is none."""
        factor = await self._confirmed(user_id)
        return None if factor is None else factor.confirm_time

    async def recovery_codes_left(self, user_id: str) -> int:
        """Number of recovery codes that are not used yet."""
        async with self._factors.read() as factors:
            return await factors.count_recovery_codes(user_id)

    async def enroll(self, user_id: str) -> bytes:
        """A new secret, which counts once a code of it came. Raises SecondFactorEnabled."""
        secret = totp.new_secret()
        async with self._factors() as factors:
            present = await factors.find(user_id)
            if present is not None and present.confirmed:
                raise SecondFactorEnabled
            await factors.begin(user_id, self._box.seal(user_id, secret), self._clock.now())
        return secret

    async def confirm(self, user_id: str, code: str) -> Sequence[str]:
        """Have the secret count; the recovery codes. Raises NoSecondFactor, SecondFactorEnabled, WrongCode."""
        async with self._factors.read() as factors:
            pending = await factors.find(user_id)
        now = self._clock.now()
        if pending is None or (not pending.confirmed and pending.create_time + PENDING <= now):
            raise NoSecondFactor("begin with EnrollTotp")
        if pending.confirmed:
            raise SecondFactorEnabled
        await self._require_tries(user_id)
        step = totp.matching_step(self._box.open(user_id, pending.sealed_secret), _plain(code), now.timestamp())
        codes = _new_recovery_codes()
        async with self._factors() as factors:
            if step is not None and await factors.confirm(user_id, pending.sealed_secret, now):
                await factors.use_step(user_id, step)
                await factors.replace_recovery_codes(user_id, map(_code_hash, codes))
                return codes
        await self._wrong_codes.add(user_id)
        raise WrongCode

    async def require(self, user_id: str, code: str) -> None:
        """Use a code up where the user has a second factor.

        Raises: SecondFactorRequired without one, WrongCode, ResourceExhausted after too many wrong ones.
        """
        factor = await self._confirmed(user_id)
        if factor is None:
            return
        if not code:
            raise SecondFactorRequired(remedy="code")
        await self._require_tries(user_id)
        if not await self._use(user_id, factor, _plain(code)):
            await self._wrong_codes.add(user_id)
            raise WrongCode
        await self._wrong_codes.forget(user_id)

    async def create_recovery_codes(self, user_id: str, code: str) -> Sequence[str]:
        """New recovery codes in the place of the old ones. Raises NoSecondFactor, WrongCode."""
        await self._require_enabled(user_id, code)
        codes = _new_recovery_codes()
        async with self._factors() as factors:
            await factors.replace_recovery_codes(user_id, map(_code_hash, codes))
        return codes

    async def disable(self, user_id: str, role: str, code: str) -> None:
        """Remove the second factor. Raises SecondFactorDemanded, NoSecondFactor, WrongCode."""
        if self.is_demanded(role):
            raise SecondFactorDemanded
        await self._require_enabled(user_id, code)
        await self.remove(user_id)

    async def remove(self, user_id: str) -> None:
        """Remove the second factor without a code: for an operator who recovers an account."""
        async with self._factors() as factors:
            await factors.remove(user_id)

    async def _confirmed(self, user_id: str) -> SecondFactor | None:
        async with self._factors.read() as factors:
            factor = await factors.find(user_id)
        return factor if factor is not None and factor.confirmed else None

    async def _require_enabled(self, user_id: str, code: str) -> None:
        if await self._confirmed(user_id) is None:
            raise NoSecondFactor
        await self.require(user_id, code)

    async def _require_tries(self, user_id: str) -> None:
        if await self._wrong_codes.get(user_id) >= WRONG_CODES:
            raise ResourceExhausted("too many wrong codes", retry_after_s=WRONG_CODES_WINDOW_S)

    async def _use(self, user_id: str, factor: SecondFactor, code: str) -> bool:
        if len(code) == totp.DIGITS and code.isdecimal():
            secret = self._box.open(user_id, factor.sealed_secret)
            step = totp.matching_step(secret, code, self._clock.now().timestamp())
            if step is None:
                return False
            async with self._factors() as factors:
                return await factors.use_step(user_id, step)
        async with self._factors() as factors:
            return await factors.use_recovery_code(user_id, _code_hash(code))


def _new_recovery_codes() -> list[str]:
    letters = ["".join(secrets.choice(RECOVERY_LETTERS) for _ in range(RECOVERY_LENGTH)) for _ in range(RECOVERY_CODES)]
    return ["-".join(text[at : at + 4] for at in range(0, RECOVERY_LENGTH, 4)) for text in letters]


def _plain(code: str) -> str:
    """The code without what people put between its parts."""
    return "".join(code.split()).replace("-", "").casefold()


def _code_hash(code: str) -> str:
    return hash_of(_plain(code))
