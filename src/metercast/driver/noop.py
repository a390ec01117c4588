"""A driver that succeeds at once: what the engine and the store cost without any meter."""

from collections.abc import Callable

from metercast.domain.meter import Meter
from metercast.domain.outcome import Outcome
from metercast.driver.contract import Checkpoint, Command

OutcomeOf = Callable[[Command, Meter], Outcome]

_DONE = Outcome.done()


class NoopDriver:
    """Every session is `Outcome.done()`, or what `outcome_of` says of it."""

    notified = 0  # there is no meter that could

    def __init__(self, outcome_of: OutcomeOf | None = None) -> None:
        self._outcome_of = outcome_of

    async def execute(self, command: Command, meter: Meter, checkpoint: Checkpoint) -> Outcome:
        if self._outcome_of is None:
            return _DONE
        return self._outcome_of(command, meter)

    async def close(self) -> None:
        """Holds nothing."""
