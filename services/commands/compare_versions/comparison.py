"""Requests sent to two versions, and what differs of their answers for good."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from statistics import median

from services.commands.click_command import BadInput
from services.commands.compare_versions.differences import Difference, differences
from services.commands.compare_versions.requests import Request
from services.commands.compare_versions.version import Answer, Version

ATTEMPTS = 3
"""Times that answers which differ are asked for: between the two something may have happened."""


@dataclass(slots=True)
class Comparison:
    """The outcome."""

    statuses: Counter[str] = field(default_factory=Counter)
    """Answers of the old version, by status."""
    differing: list[tuple[Request, Difference]] = field(default_factory=list)
    moving: list[tuple[Request, str]] = field(default_factory=list)
    """Fields that change from one answer of the old version to the next: they say nothing about versions."""
    old_ms: list[float] = field(default_factory=list)
    new_ms: list[float] = field(default_factory=list)

    @property
    def medians_ms(self) -> tuple[float, float]:
        """The times of first answers."""
        return median(self.old_ms), median(self.new_ms)


async def compare(old: Version, new: Version, requests: Sequence[Request], ignored: Collection[str]) -> Comparison:
    """Ask both everything, one request after the other. Raises Failure, and BadInput where a token is not taken."""
    result = Comparison()
    for request in requests:
        first = await _ask(old, request), await _ask(new, request)
        result.statuses[first[0].status] += 1
        result.old_ms.append(first[0].ms)
        result.new_ms.append(first[1].ms)
        answers = [first]
        lasting = _differing(first, ignored)
        while lasting and len(answers) < ATTEMPTS:
            answers.append((await _ask(old, request), await _ask(new, request)))
            again = _differing(answers[-1], ignored)
            lasting = {name: again[name] for name in lasting if name in again}
        own = [_differing((answers[0][0], later), ignored) for later, _ in answers[1:]]
        for name, difference in lasting.items():
            if any(name in one for one in own):
                result.moving.append((request, name))
            else:
                result.differing.append((request, difference))
    return result


async def _ask(version: Version, request: Request) -> Answer:
    answer = await version.ask(request)
    if answer.status == "UNAUTHENTICATED":
        raise BadInput(f"{version.address} takes no such token for {request.name}: give --token, --new-token")
    return answer


def _differing(answers: tuple[Answer, Answer], ignored: Collection[str]) -> dict[str, Difference]:
    old, new = answers
    if old.status != new.status:
        return {"status": Difference("status", old.status, new.status)}
    return {one.field: one for one in differences(old.fields, new.fields, ignored)}
