"""What a driver offers to those who write sessions down. See metercast.trace."""

from typing import Protocol

from metercast.dlms.link import Link
from metercast.dlms.settings import AssociationSettings
from metercast.domain.meter import Meter
from metercast.driver.contract import Checkpoint, Command
from metercast.driver.transport import Transport


class SessionTracer(Protocol):
    """One session, with all its connections. None of its methods raises."""

    def listen(
        self, transport: Transport, link: Link, twin: Link, settings: AssociationSettings
    ) -> tuple[Transport, Link]:
        """What to use in their place; `twin` is a second link made as `link` was."""
        ...

    def note(self, text: str) -> None:
        """One line about what happens beside the octets."""
        ...

    def end(self, text: str) -> None:
        """The session is over, and how."""
        ...


class Tracer(Protocol):
    def begin(self, command: Command, meter: Meter, checkpoint: Checkpoint) -> SessionTracer | None:
        """None where this session is not to be written down."""
        ...
