"""How long a session waits for what."""

import msgspec

from metercast.domain.meter import Connection


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds. `progress` is the longest silence while an answer is awaited; `session` bounds all of it together."""

    connect: float = 10.0
    progress: float = 120.0
    session: float = 600.0
    release: float = 2.0

    def of_meter(self, connection: Connection) -> "Timeouts":
        """With what the meter's record says otherwise."""
        connect, progress = connection.connect_timeout_seconds, connection.progress_timeout_seconds
        if connect is None and progress is None:
            return self
        return msgspec.structs.replace(self, connect=connect or self.connect, progress=progress or self.progress)

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if not getattr(self, name) > 0:
                raise ValueError(f"the {name} timeout must be above 0, not {getattr(self, name)}")
