"""Sends what push setups say: a data-notification over TCP or UDP, again where it does not get through."""

import asyncio
from contextlib import suppress
from typing import Final

from metercast.dlms.access import INVOKE_ID
from metercast.dlms.cosem import Selection
from metercast.dlms.data import NULL, Data
from metercast.dlms.errors import DlmsError
from metercast.dlms.notification import DataNotification
from metercast.dlms.wrapper import encode_wrapper
from metercast.simulator.meter import SimulatedMeter
from metercast.simulator.objects.base import Refusal
from metercast.simulator.objects.clock import CLOCK
from metercast.simulator.objects.model import standard_model, standard_object_list
from metercast.simulator.objects.push import pushed_attribute
from metercast.simulator.push_setup import UDP, Destination, PushSetup
from metercast.simulator.spec import MANAGEMENT_CLIENT

_WINDOW_LOOK_SECONDS: Final = 1.0
_RANGE, _ENTRY = 1, 2


class MeterPusher:
    """Implements push_setup.Pusher for one meter, in the running event loop; `close` ends all that is under way."""

    def __init__(self, meter: SimulatedMeter) -> None:
        self._meter = meter
        self._tasks: dict[asyncio.Task[None], PushSetup] = {}
        self._sent = 0

    def push(self, setup: PushSetup) -> None:
        task = asyncio.get_running_loop().create_task(self._send(setup))
        self._tasks[task] = setup
        task.add_done_callback(self._tasks.pop)

    def reset(self, setup: PushSetup) -> None:
        for task, of in list(self._tasks.items()):
            if of is setup:
                task.cancel()

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self, setup: PushSetup) -> None:
        state = self._meter.state
        while not setup.is_open(state.clock.now().astimezone(state.clock.rules)):  # noqa: ASYNC110 - a window may be written anew
            await asyncio.sleep(_WINDOW_LOOK_SECONDS)
        await asyncio.sleep(setup.first_delay(self._meter.random))
        self._sent += 1
        frame = encode_wrapper(self._meter.spec.server_sap, setup.client_sap, self._notification(setup))
        for number in range(setup.retries + 1):
            try:
                await _deliver(setup.destination(), frame)
                return
            except (OSError, DlmsError):
                if number < setup.retries:
                    await asyncio.sleep(setup.delay_before_retry(number))

    def _notification(self, setup: PushSetup) -> bytes:
        """The values of the pushed attributes, in their order, as one structure."""
        body = Data.structure([self._value(element, setup.version) for element in setup.objects])
        return DataNotification(self._sent & INVOKE_ID, b"", body).encode()

    def _value(self, element: Data, version: int) -> Data:
        """Null-data where the meter has no such attribute."""
        attribute, state = pushed_attribute(element), self._meter.state
        caller = _OwnCaller(self._meter)
        try:
            found = standard_model().attribute(
                MANAGEMENT_CLIENT, attribute.class_id, attribute.logical_name, attribute.index
            )
            selection = _selection(element.value[4]) if version >= 1 else None
            if selection is not None and found.select is not None:
                value = found.select(state, caller, selection)
            elif found.read is not None:
                value = found.read(state, caller)
            else:
                return NULL
        except Refusal:
            return NULL
        part: int = element.value[3].value
        if part and isinstance(value.value, list):
            return value.value[part - 1] if part <= len(value.value) else NULL
        return value


class _OwnCaller:
    """Implements objects.base.Caller: the meter itself, with the rights of the management client."""

    client_sap = MANAGEMENT_CLIENT
    conformance = 0
    max_answer = 0
    mechanism = 0
    client_system_title = b""

    def __init__(self, meter: SimulatedMeter) -> None:
        self.ciphered = meter.spec.ciphered
        self.client_counter = meter.security.client_counter
        self.server_system_title = meter.spec.system_title
        self.logical_device_name = meter.spec.logical_device_name.encode("ascii")

    @property
    def object_list(self) -> Data:
        return standard_object_list(MANAGEMENT_CLIENT)


def _selection(restriction: Data) -> Selection | None:
    kind, value = restriction.value
    if kind.value == _RANGE:
        clock = [Data.long_unsigned(8), Data.octets(CLOCK), Data.integer(2), Data.long_unsigned(0)]
        return Selection(_RANGE, Data.structure([Data.structure(clock), *value.value, Data.array([])]))
    if kind.value == _ENTRY:
        return Selection(_ENTRY, Data.structure([*value.value, Data.long_unsigned(1), Data.long_unsigned(0)]))
    return None


async def _deliver(destination: Destination, frame: bytes) -> None:
    """OSError where nobody takes it; UDP never tells."""
    if destination.transport == UDP:
        loop = asyncio.get_running_loop()
        address = (destination.host, destination.port)
        transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=address)
        transport.sendto(frame)
        transport.close()
        return
    _, writer = await asyncio.open_connection(destination.host, destination.port)
    try:
        writer.write(frame)
        await writer.drain()
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
