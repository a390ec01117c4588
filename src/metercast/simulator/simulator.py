"""Runs a population on TCP, in this event loop."""

import asyncio
import socket
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from metercast.simulator.clock import TimeSource
from metercast.simulator.faults import Faults, RefuseConnections
from metercast.simulator.gateway import Gateway, GatewayLine
from metercast.simulator.line import LineFactory, MeterLine, OpenLines
from metercast.simulator.log import AnyEvent, SessionLog
from metercast.simulator.meter import SimulatedMeter
from metercast.simulator.population import Endpoint, Population
from metercast.simulator.pusher import MeterPusher
from metercast.simulator.serial_line import SerialLine
from metercast.simulator.spec import GatewaySpec
from metercast.simulator.witness import Predicate, Witness

BACKLOG = 64
CLOSE_SECONDS = 2.0


class _Listener:
    """A port that is always kept, and listens or refuses."""

    def __init__(self, endpoint: Endpoint, factory: LineFactory) -> None:
        self._factory = factory
        self._server: asyncio.Server | None = None
        self._socket = _bound(endpoint)
        name = self._socket.getsockname()
        self.endpoint: Endpoint = (name[0], name[1])

    async def listen(self) -> None:
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(self._factory, sock=self._socket, backlog=BACKLOG)

    def refuse(self) -> None:
        """Connections are refused from now on; the port stays taken."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self._socket = _bound(self.endpoint)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        else:
            self._socket.close()


class Simulator:
    """`async with Simulator(population) as simulator:` the meters answer inside the block.

    `log_path` None writes no log; `keep_events` keeps every event in `events`. `time_source` tells the true time
    that the meters' clocks start from.
    """

    def __init__(
        self,
        population: Population,
        *,
        log_path: Path | None = None,
        keep_events: bool = False,
        time_source: TimeSource = time.time,
    ) -> None:
        self.population = population
        self._log = SessionLog(log_path) if log_path is not None else None
        self._witness = Witness(self._log, keep=keep_events)
        self._meters = {spec.meter_id: SimulatedMeter(spec, self._witness, time_source) for spec in population.meters}
        self._lines = OpenLines()
        self._pushers: dict[str, MeterPusher] = {}
        self._listeners: dict[str, _Listener] = {}
        self._gateways: dict[str, tuple[Gateway, _Listener]] = {}
        self._timers: list[asyncio.TimerHandle] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Every meter listens, but those that refuse. OSError where a port is taken."""
        try:
            for meter in self._meters.values():
                meter.state.pusher = self._pushers[meter.meter_id] = MeterPusher(meter)
                if meter.spec.gateway is None:
                    endpoint = (meter.spec.host, meter.spec.port)
                    self._listeners[meter.meter_id] = _Listener(endpoint, self._factory(meter))
                    meter.on_reboot = partial(self._refuse_for, meter)
                    await self._follow_refusal(meter)
            for spec in self.population.gateways:
                meters = [meter for meter in self._meters.values() if meter.spec.gateway == spec.name]
                behind = {meter.spec.server_sap: meter for meter in meters}
                gateway = Gateway(behind, second_waits=spec.second_connection == "wait")
                listener = _Listener((spec.host, spec.port), self._gateway_factory(gateway, meters, spec))
                self._gateways[spec.name] = (gateway, listener)
                await listener.listen()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Closes every connection and port, and the log."""
        for timer in self._timers:
            timer.cancel()
        for task in self._tasks:
            task.cancel()
        for pusher in self._pushers.values():
            await pusher.close()
        listeners = [*self._listeners.values(), *(listener for _, listener in self._gateways.values())]
        for listener in listeners:
            listener.close()
        await self._lines.close(CLOSE_SECONDS)
        self._listeners.clear()
        self._gateways.clear()
        if self._log is not None:
            self._log.close()

    def meter(self, meter_id: str) -> SimulatedMeter:
        """KeyError where there is none."""
        return self._meters[meter_id]

    @property
    def meters(self) -> list[SimulatedMeter]:
        return list(self._meters.values())

    @property
    def events(self) -> list[AnyEvent]:
        """Oldest first; empty unless `keep_events`."""
        return self._witness.events

    async def wait_for(self, predicate: Predicate) -> AnyEvent:
        """The first event that fits, of those kept or yet to come."""
        return await self._witness.wait_for(predicate)

    def flush_log(self) -> None:
        if self._log is not None:
            self._log.flush()

    async def set_faults(self, meter_id: str, faults: Faults) -> None:
        """In force from the next session on; a refusal of connections at once."""
        meter = self._meters[meter_id]
        meter.faults = faults
        if meter_id in self._listeners:
            await self._follow_refusal(meter)

    def gateway(self, name: str) -> Gateway:
        return self._gateways[name][0]

    def endpoint(self, meter_id: str) -> Endpoint:
        """(host, port) at which the meter, or its gateway, is reached."""
        spec = self._meters[meter_id].spec
        listener = self._listeners[meter_id] if spec.gateway is None else self._gateways[spec.gateway][1]
        return listener.endpoint

    def device_records(self) -> Iterator[dict[str, Any]]:
        """The meters as device documents, with the ports that they really have."""
        return self.population.device_records({meter_id: self.endpoint(meter_id) for meter_id in self._meters})

    def snapshot(self) -> list[dict[str, Any]]:
        """The physical state of every meter, in the population's order."""
        return [meter.snapshot() for meter in self._meters.values()]

    async def _follow_refusal(self, meter: SimulatedMeter) -> None:
        listener = self._listeners[meter.meter_id]
        refusal = next((fault for fault in meter.faults if isinstance(fault, RefuseConnections)), None)
        if refusal is None:
            await listener.listen()
            return
        listener.refuse()
        if refusal.seconds is not None:
            loop = asyncio.get_running_loop()
            self._timers.append(loop.call_later(refusal.seconds, self._listen_again, meter, refusal))

    def _listen_again(self, meter: SimulatedMeter, refusal: RefuseConnections) -> None:
        if refusal in meter.faults:
            task = asyncio.get_running_loop().create_task(self._listeners[meter.meter_id].listen())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _refuse_for(self, meter: SimulatedMeter, seconds: float) -> None:
        """A meter that reboots takes no connection; afterwards its faults decide."""
        self._listeners[meter.meter_id].refuse()
        self._timers.append(asyncio.get_running_loop().call_later(seconds, self._back, meter))

    def _back(self, meter: SimulatedMeter) -> None:
        task = asyncio.get_running_loop().create_task(self._follow_refusal(meter))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _factory(self, meter: SimulatedMeter) -> LineFactory:
        return lambda: MeterLine(meter, self._lines)

    def _gateway_factory(self, gateway: Gateway, meters: list[SimulatedMeter], spec: GatewaySpec) -> LineFactory:
        if any(meter.spec.hdlc is not None for meter in meters):
            return lambda: SerialLine(gateway, meters, self._lines, spec)
        return lambda: GatewayLine(gateway, self._lines)


def _bound(endpoint: Endpoint) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setblocking(False)
        sock.bind(endpoint)
    except OSError as exc:
        sock.close()
        raise OSError(exc.errno, f"{endpoint[0]}:{endpoint[1]}: {exc.strerror}") from exc
    except BaseException:
        sock.close()
        raise
    return sock
