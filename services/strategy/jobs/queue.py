"""Queue of jobs in the order in which they were created, fair between owners."""

from collections import deque
from collections.abc import Mapping


class FairQueue:
    """Waiting jobs by owner. Next is the oldest job of the owner with the fewest running; of several such owners it is
    the one who has waited longest since their last turn."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[str]] = {}
        self._turns: dict[str, int] = {}
        self._turn = 0

    def add(self, owner: str, job_id: str) -> None:
        """Append to the owner's jobs. An owner who had none waiting comes after those who are waiting already."""
        if owner not in self._waiting:
            self._waiting[owner] = deque()
            self._turn += 1
            self._turns[owner] = self._turn
        self._waiting[owner].append(job_id)

    def remove(self, owner: str, job_id: str) -> bool:
        """Remove a job; returns whether it was waiting."""
        jobs = self._waiting.get(owner, ())
        if job_id not in jobs:
            return False
        self._take(owner, job_id)
        return True

    def pop(self, running: Mapping[str, int]) -> str | None:
        """The next job; `running`: how many each owner has running. None when nothing waits."""
        if not self._waiting:
            return None
        owner = min(self._waiting, key=lambda name: (running.get(name, 0), self._turns[name]))
        job_id = self._waiting[owner][0]
        self._turn += 1
        self._turns[owner] = self._turn
        self._take(owner, job_id)
        return job_id

    def put_back(self, owner: str, job_id: str) -> None:
        """Have a job that was popped wait again, where it was; its id tells when it was created."""
        first = min(self._turns.values(), default=1) - 1
        jobs = self._waiting.setdefault(owner, deque())
        self._turns[owner] = first
        jobs.insert(sum(other < job_id for other in jobs), job_id)

    def count(self, owner: str) -> int:
        """The number of an owner's jobs that wait."""
        return len(self._waiting.get(owner, ()))

    def position(self, owner: str, job_id: str) -> int:
        """The number of the owner's jobs that come before this one."""
        jobs = self._waiting.get(owner)
        return jobs.index(job_id) if jobs and job_id in jobs else 0

    def _take(self, owner: str, job_id: str) -> None:
        self._waiting[owner].remove(job_id)
        if not self._waiting[owner]:
            del self._waiting[owner], self._turns[owner]
