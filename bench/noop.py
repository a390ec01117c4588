"""The engine with a driver that does nothing, on any store: from submit to COMPLETED, every state written."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from bench.fleet import Names, new_task
from metercast.commands.contract import CommandType, MeterSession
from metercast.domain.command import CommandTraits
from metercast.domain.meter import Meter, MeterRecord, SealedMeter
from metercast.domain.outcome import Outcome
from metercast.domain.retry import Resend
from metercast.driver.noop import NoopDriver
from metercast.engine.engine import Engine
from metercast.store.contract import Store

DOCUMENT = b'{"connection":{"host":"127.0.0.1"}}'
_WATCHED_SECONDS = 0.02


class NoParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The command takes none."""


async def _perform(session: MeterSession, parameters: Any) -> Outcome:
    return Outcome.done()


NOTHING = CommandType(
    traits=CommandTraits(name="NOTHING", resend=Resend.SAFE, expires_after=timedelta(days=1)),
    parameters=NoParameters,
    perform=_perform,
    summary="Does nothing.",
)


class PlainVault:
    """Opens records without secrets."""

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(MeterRecord)

    def open(self, stored: SealedMeter) -> Meter:
        return Meter(stored.device_id, self._decoder.decode(stored.document), {})


async def submit_to_completed(store: Store, task_id: str, count: int) -> float:
    """Seconds for a task of the fleet's first `count` meters, which are registered with DOCUMENT and no secrets."""
    engine = Engine(store, NoopDriver(), {"NOTHING": NOTHING}, PlainVault(), lambda: datetime.now(UTC))
    await engine.start()
    began = time.perf_counter()
    await store.create_task(new_task(task_id, command_type="NOTHING"), Names(count), allow_unknown=False)
    engine.wake()
    while (task := await store.get_task(task_id)).outcome is None:  # noqa: ASYNC110 (as a client would)
        await asyncio.sleep(_WATCHED_SECONDS)
    elapsed = time.perf_counter() - began
    assert task.counts.success == count, task
    await engine.drain(10)
    return elapsed
