"""Number of examples of the property tests that take longest: a fifth of them where `make test-fast` asks."""

from hypothesis import settings

FAST = "fast"
FEW = 20


def examples(number: int) -> int:
    """`number`, or at most FEW with the profile of make test-fast."""
    return min(number, FEW) if settings.get_current_profile_name() == FAST else number
