"""Acts of an operator at the machine: commands that change a database without a call."""

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from services.kernel.audit.draft import Act, Draft, current_draft
from services.kernel.identifiers import new_id
from services.kernel.identity.identity import Identity


@dataclass
class _Operator:
    """The operating system's user, as the one who acts."""

    identity: Identity
    request_id: str = field(default_factory=new_id)
    client_address: str = ""
    trace_id: str = ""


@contextmanager
def commanded(command: str, resource: str, *, before: Any = None, after: Any = None) -> Iterator[Draft]:
    """Record what the block changes as done by a command: with the first transaction of the block that is committed.

    Its actor is the operating system's user.
    """
    draft = command_draft(command, resource, before=before, after=after)
    token = current_draft.set(draft)
    try:
        yield draft
    finally:
        current_draft.reset(token)


def command_draft(command: str, resource: str, *, before: Any = None, after: Any = None) -> Draft:
    """The record of a command, to be carried by a transaction."""
    operator = _Operator(Identity("operator", actor=f"operator:{_user()}"))
    draft = Draft(Act(command, lambda *_: resource, None), operator, None)
    draft.resource, draft.before, draft.after = resource, before, after
    return draft


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in containers
        return str(os.getuid())
