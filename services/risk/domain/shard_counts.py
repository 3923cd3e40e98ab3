"""Day counts of the users that are served here: of all together, or by shard where replicas share the users."""

from collections.abc import Collection, Iterable

from services.kernel.shards.ownership import shard_of
from services.quant.calendar import Calendar
from services.risk.domain.day_counts import DayCounts

ALL = -1
"""Instead of a shard: all users, of the only process there is."""


class ShardCounts:
    """Counts of users' orders, cancels and replaces, by shard where replicas share the users."""

    def __init__(self, calendar: Calendar, *, is_shared: bool = False) -> None:
        """`is_shared`: there are replicas, and counts come and go with shards."""
        self._calendar = calendar
        self._is_shared = is_shared
        self._nobody = DayCounts(calendar)
        self.by_shard: dict[int, DayCounts] = {} if is_shared else {ALL: DayCounts(calendar)}

    @property
    def all(self) -> DayCounts:
        """The counts of all users, where no replicas share them."""
        return self.by_shard[ALL]

    def of_user(self, user_id: str) -> DayCounts:
        """Counts that a user's are among; nothing is kept of a user who is served elsewhere."""
        return self.by_shard.get(shard_of(user_id), self._nobody) if self._is_shared else self.by_shard[ALL]

    def take(self, shard: int) -> DayCounts:
        """Counts of a shard that comes, which are to be loaded."""
        counts = self.by_shard[shard] = DayCounts(self._calendar)
        return counts

    def drop(self, shards: Collection[int]) -> None:
        """Forget shards that are served elsewhere."""
        for shard in shards:
            self.by_shard.pop(shard, None)

    def forget_before(self, trading_day: int) -> None:
        """Forget days before this one."""
        for counts in self.by_shard.values():
            counts.forget_before(trading_day)

    def items(self) -> Iterable[tuple[int, DayCounts]]:
        """(shard, counts) of all, as it is now."""
        return list(self.by_shard.items())
