"""Events by which others learn of states and limits, written into the outbox with them."""

from redfire.events.v1.events_pb2 import Event

from services.kernel.events.outbox import Outbox
from services.risk.domain.account_key import AccountKey
from services.risk.domain.limits import AccountLimits
from services.risk.domain.trading_state import AccountStates

LIMITS_CHANGED, STATE_CHANGED = "risk.limits_changed", "risk.trading_state_changed"


def limits_changed(outbox: Outbox, account: AccountKey, limits: AccountLimits) -> Event:
    """The event of an account's limits as they are now."""
    event = outbox.event(LIMITS_CHANGED)
    event.limits_changed.user_id, event.limits_changed.account_id = account.user_id, account.only_account_id
    event.limits_changed.granted.update(limits.granted.to_document())
    event.limits_changed.own.update(limits.own.to_document())
    return event


def state_changed(outbox: Outbox, account_id: str, states: AccountStates) -> Event:
    """The event of the state of an account, of a user (without account_id), or of everybody (without both)."""
    event = outbox.event(STATE_CHANGED)
    event.trading_state_changed.account_id = account_id
    event.trading_state_changed.state = f"TRADING_STATE_{states.state.name}"
    if (setting := states.strictest) is not None:
        event.trading_state_changed.user_id = setting.user_id
        if setting.of_user:
            event.trading_state_changed.account_id = ""
        event.trading_state_changed.reason = setting.reason
        event.trading_state_changed.updated_by = setting.updated_by
    return event
