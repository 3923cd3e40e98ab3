"""An event: an action or a refusal of risk."""

from dataclasses import dataclass, field
from datetime import datetime

from redfire.reasons import Reason


@dataclass(frozen=True, slots=True)
class RiskEvent:
    """An event of an account, or of everybody when both ids are empty. `reason` is None where nothing is refused."""

    event_id: str
    user_id: str
    account_id: str
    reason: Reason | None
    message: str
    create_time: datetime
    metadata: dict[str, str] = field(default_factory=dict)
