"""The driver's contract: `execute(command, meter, checkpoint) -> Outcome`."""

from typing import Any, Protocol

import msgspec

from metercast.commands.contract import CommandType
from metercast.domain.command import CommandTraits
from metercast.domain.meter import Meter
from metercast.domain.outcome import Outcome


class GiveBack(Exception):
    """Now is not the time: paused, cancelled, expired, draining, or the lease is lost.

    A driver that gets it before it changed the meter ends its session and returns `Outcome.given_back`. After a change
    was sent `may_change` is not asked again and the session finishes what it began; only a lost lease (`may_send`)
    stops it then, and the outcome is OutcomeUnknown, for another worker may be about to talk to the meter.
    """


class Command(msgspec.Struct, frozen=True):
    """A command type with its validated parameters, as one task asks for it."""

    type: CommandType
    parameters: Any

    @property
    def traits(self) -> CommandTraits:
        return self.type.traits_for(self.parameters)


class Checkpoint(Protocol):
    """What the engine holds for one session of one device command."""

    @property
    def task_id(self) -> str:
        """The task that the command belongs to."""
        ...

    @property
    def verify_first(self) -> bool:
        """An earlier session may have changed the meter and did not see its end: read first, then decide."""
        ...

    @property
    def progress(self) -> Any:
        """What an earlier session of a long command left, or None."""
        ...

    @property
    def should_yield(self) -> bool:
        """A long command should end this session with a checkpoint: another one waits for the meter, the task may not
        go on, or the session has taken its time."""
        ...

    async def settle(self, progress: Any) -> None:
        """Keeps `progress` durably, for the session that follows; raises GiveBack where the lease is lost.

        What the command did so far is known: `verify_first` is about nothing that it did before.
        """
        ...

    def may_send(self) -> None:
        """Before each send: raises GiveBack when the lease's own deadline has passed."""
        ...

    def may_change(self) -> None:
        """After association, before the first byte that changes the meter: raises GiveBack."""
        ...


class Driver(Protocol):
    @property
    def notified(self) -> int:
        """What meters sent without being asked, since the driver is there."""
        ...

    async def execute(self, command: Command, meter: Meter, checkpoint: Checkpoint) -> Outcome:
        """Ends in bounded time, whatever the meter does, and raises nothing but CancelledError."""
        ...

    async def close(self) -> None:
        """Gives up what it holds."""
        ...
