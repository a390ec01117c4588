"""Long sessions that make room: a firmware upload ends its session at its next block where something else waits.

Who waits asks again, and a long session ends by itself after a while: what is kept here is only for a moment.
"""

import time

from metercast.domain.command import ConflictGroup
from metercast.engine.session import Session

# For a free slot alone a session is not cut shorter than that: each costs an association.
_SHORTEST_SECONDS = 2.0
# How long a meter is kept for who waited for it.
_KEPT_SECONDS = 5.0


class Yielding:
    """The sessions of long commands in flight, by their meter."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._kept: dict[str, float] = {}  # meters that a long session left for someone else, and until when

    def began(self, session: Session) -> None:
        if session.bucket.command.type.traits.is_long:
            self._sessions[session.device.device_id] = session
        else:
            self._kept.pop(session.device.device_id, None)

    def ended(self, device_id: str) -> None:
        self._sessions.pop(device_id, None)

    def want_meter(self, device_id: str, group: ConflictGroup) -> None:
        """A command of that group waits for the meter. One of the session's own group has to wait anyway."""
        session = self._sessions.get(device_id)
        if session is not None and (group is ConflictGroup.NONE or group is not session.bucket.task.conflict_group):
            session.wanted = True
            self._kept[device_id] = time.monotonic() + _KEPT_SECONDS

    def is_kept(self, device_id: str) -> bool:
        """Whether a long session should not begin yet: someone waited for the meter, and has not had it."""
        until = self._kept.get(device_id)
        if until is None:
            return False
        if time.monotonic() < until:
            return True
        del self._kept[device_id]
        return False

    def want_place(self, channel: str | None) -> None:
        """A short command waits for a place in the channel."""
        for session in self._sessions.values():
            if session.device.channel == channel and not session.wanted:
                session.wanted = True
                return

    def want_slots(self, count: int) -> None:
        """So many short commands wait for a session slot."""
        now = time.monotonic()
        for session in self._sessions.values():
            if session.wanted:
                count -= 1
            if count <= 0:
                return
            if not session.wanted and now - session.begun_at >= _SHORTEST_SECONDS:
                session.wanted = True
                count -= 1
