"""The simulator as a process of its own: ready line, signals, files that others compare with."""

import asyncio
import gc
import json
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop

from metercast.simulator.population import Population, write_device_records
from metercast.simulator.simulator import Simulator

FILES_PER_METER = 3
SPARE_FILES = 256
STDIN = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorOptions:
    """`until_stdin_closes` ends the process with whoever started it, however that one ended."""

    population: Population
    log_path: Path | None = None
    devices_out: Path | None = None
    state_out: Path | None = None
    until_stdin_closes: bool = False


class StateFile:
    """The physical state of all meters as one JSON document; `sequence` goes up with every writing."""

    def __init__(self, path: Path, simulator: Simulator) -> None:
        self._path, self._simulator = path, simulator
        self._sequence = 0

    def write(self) -> None:
        """Replaces the file as a whole, so that a reader never sees half of it."""
        self._sequence += 1
        document = {
            "sequence": self._sequence,
            "writtenAt": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "meters": {state["meterId"]: state for state in self._simulator.snapshot()},
        }
        draft = self._path.with_name(self._path.name + ".new")
        draft.write_text(json.dumps(document))
        draft.replace(self._path)


async def serve(
    options: SimulatorOptions, announce: Callable[[dict[str, Any]], None], stop: asyncio.Event | None = None
) -> None:
    """Runs the population until `stop` is set, or SIGTERM or SIGINT comes; SIGUSR1 writes the state file.

    `announce` is given one document when every meter listens. OSError where a port or a file can't be had.
    """
    stop = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    async with Simulator(options.population, log_path=options.log_path) as simulator:
        state = StateFile(options.state_out, simulator) if options.state_out is not None else None
        if options.devices_out is not None:
            write_device_records(options.devices_out, simulator.device_records())
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        if state is not None:
            loop.add_signal_handler(signal.SIGUSR1, _dump, simulator, state)
        if options.until_stdin_closes:
            _watch_stdin(loop, stop)
        announce(_ready(options, simulator))
        await stop.wait()
        if state is not None:
            state.write()


def run_simulator(options: SimulatorOptions) -> None:
    """Blocks until the process is told to end; the ready line goes to standard output."""
    raise_file_limit(len(options.population.meters) * FILES_PER_METER + SPARE_FILES)

    def announce(document: dict[str, Any]) -> None:
        # What lives now lives to the end: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        sys.stdout.write(json.dumps(document) + "\n")
        sys.stdout.flush()

    uvloop.run(serve(options, announce))


def raise_file_limit(wanted: int) -> int:
    """Lets the process open `wanted` files, as far as the hard limit allows; returns the limit in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and target > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
        return target
    return soft


def _ready(options: SimulatorOptions, simulator: Simulator) -> dict[str, Any]:
    population = options.population
    first = simulator.endpoint(population.meters[0].meter_id) if population.meters else ("", 0)
    return {
        "ready": True,
        "meters": len(population.meters),
        "gateways": [gateway.name for gateway in population.gateways],
        "faulty": sum(bool(spec.faults) for spec in population.meters),
        "first": {"host": first[0], "port": first[1]},
        "log": str(options.log_path) if options.log_path else None,
        "devices": str(options.devices_out) if options.devices_out else None,
        "state": str(options.state_out) if options.state_out else None,
        "pid": os.getpid(),
    }


def _dump(simulator: Simulator, state: StateFile) -> None:
    simulator.flush_log()
    state.write()


def _watch_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    def read() -> None:
        while os.read(STDIN, 4096):
            pass
        if not loop.is_closed():
            loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=read, name="stdin", daemon=True).start()
