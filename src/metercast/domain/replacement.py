"""The life of one secret of an association: current, and while it is replaced the next one beside it.

A new secret is pending from before it is sent until the meter has proved which one it holds: both are kept so long, and
either may be the meter's. Nothing here is printed.
"""

from datetime import datetime
from enum import StrEnum

import msgspec


class SecretKind(StrEnum):
    """The secrets of an association, by their names in the record."""

    PASSWORD = "password"  # noqa: S105  of LLS, or the secret that HLS hashes
    ENCRYPTION_KEY = "encryptionKey"  # global unicast
    AUTHENTICATION_KEY = "authenticationKey"
    BROADCAST_KEY = "broadcastKey"  # global broadcast encryption
    MASTER_KEY = "masterKey"  # wraps the others on their way (KEK)
    SIGNING_KEY = "signingKey"  # our private one


class Replacement(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """`pending` is the secret that may be the meter's next, since `since`; `replaced_at` is when the last one proved to
    be. `task_id` names the task that made what is pending, or else what was replaced."""

    pending: str | None = None
    since: datetime | None = None
    replaced_at: datetime | None = None
    task_id: str | None = None

    def __repr__(self) -> str:
        return f"Replacement(pending={self.pending is not None})"

    def was_done_by(self, task_id: str) -> bool:
        """A session of that task has replaced it, and no other one has begun since."""
        return self.pending is None and self.replaced_at is not None and self.task_id == task_id
