"""A simulated meter: its physical state, its security, its faults, and the sessions open on it."""

import asyncio
import time
from collections.abc import Callable
from random import Random
from typing import Any

from metercast.dlms.logical_name import LogicalName
from metercast.simulator.clock import TimeSource
from metercast.simulator.events import POWER_UP, STANDARD_LOG
from metercast.simulator.faults import FaultPlay, Faults, LoseImageBlocks, StaleCounter
from metercast.simulator.log import ActionExecuted, now
from metercast.simulator.security import MeterSecurity
from metercast.simulator.session import Line, MeterSession
from metercast.simulator.spec import MeterSpec
from metercast.simulator.state import MeterState, MethodKey
from metercast.simulator.witness import Witness

_LAST_ANSWER_SECONDS = 0.02  # between the answer to an activation and the reboot


class SimulatedMeter:
    """`max_concurrent` is the largest number of sessions that were ever open at once."""

    def __init__(self, spec: MeterSpec, witness: Witness, time_source: TimeSource = time.time) -> None:
        self.spec = spec
        self.witness = witness
        self.state = MeterState(spec, time_source)
        self.security = MeterSecurity(spec, self.state.keys)
        self.random = Random(spec.meter_id)
        self.sessions: list[MeterSession] = []
        self.session_count = 0
        self.max_concurrent = 0
        self._holder: object | None = None
        self._held_until = 0.0
        self._rests_until = 0.0
        self.wrong_passwords = 0
        self._play = FaultPlay()
        self.state.on_execution = self._executed
        self.state.firmware.on_reboot = self._reboot
        self.on_reboot: Callable[[float], None] | None = None
        self.faults = spec.faults

    @property
    def meter_id(self) -> str:
        return self.spec.meter_id

    @property
    def faults(self) -> Faults:
        return self._play.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        """In force from the next session on; what `times` counts begins anew."""
        self._play = FaultPlay(faults)
        for fault in faults:
            if isinstance(fault, StaleCounter):
                self.security.jump(fault.ahead)
            elif isinstance(fault, LoseImageBlocks):
                self.state.firmware.lose = set(fault.blocks)
                self.state.firmware.busy = set(fault.busy)

    def open_session(self, line: Line, peer: str) -> MeterSession:
        """A new session. Sessions whose client has gone, which the loop has only not yet told, end first."""
        for session in list(self.sessions):
            if session.line.peer_has_gone():
                session.end("peer")
        self.session_count += 1
        session = MeterSession(self, line, peer, self._play)
        self.sessions.append(session)
        self.max_concurrent = max(self.max_concurrent, len(self.sessions))
        session.begin(len(self.sessions))
        return session

    def forget_session(self, session: MeterSession) -> None:
        if self.spec.dialect.rest_seconds:
            self._rests_until = time.monotonic() + self.spec.dialect.rest_seconds
        self.sessions.remove(session)

    @property
    def is_down(self) -> bool:
        """It reboots: whoever connects is cut off."""
        return self.state.firmware.is_down

    def _reboot(self, seconds: float) -> None:
        """Every connection drops, after the answer that is under way or before it, and `on_reboot` hears of it."""
        self.state.note(STANDARD_LOG, POWER_UP)
        if self.spec.firmware.answers_activation:
            asyncio.get_running_loop().call_later(_LAST_ANSWER_SECONDS, self._go_down)
        else:
            self._go_down()
        if self.on_reboot is not None:
            self.on_reboot(seconds)

    def _go_down(self) -> None:
        for session in list(self.sessions):
            session.line.abort()

    @property
    def is_resting(self) -> bool:
        return time.monotonic() < self._rests_until

    def takes_password(self, right: bool) -> bool:
        limit = self.spec.dialect.lock_after
        if limit and self.wrong_passwords >= limit:
            return False
        self.wrong_passwords = 0 if right else self.wrong_passwords + 1
        return right

    # One association at a time, where a fault asks for it.

    def is_held(self, owner: object) -> bool:
        return (self._holder is not None and self._holder is not owner) or time.monotonic() < self._held_until

    def hold(self, owner: object, *, alone: bool) -> None:
        if alone:
            self._holder = owner

    def let_go(self, owner: object, *, hold_seconds: float) -> None:
        if self._holder is owner:
            self._holder = None
            self._held_until = time.monotonic() + hold_seconds if hold_seconds else 0.0

    def snapshot(self) -> dict[str, Any]:
        """The physical state and what happened to it, as JSON."""
        return {
            "meterId": self.meter_id,
            **self.state.snapshot(),
            "clientCounter": self.security.client_counter,
            "sessions": self.session_count,
            "maxConcurrentSessions": self.max_concurrent,
        }

    def _executed(self, key: MethodKey, count: int) -> None:
        if self.witness.watching:
            class_id, logical_name, index = key
            self.witness.write(
                ActionExecuted(
                    meter=self.meter_id,
                    session=self.session_count,
                    class_id=class_id,
                    logical_name=str(LogicalName(logical_name)),
                    index=index,
                    count=count,
                    **now(),
                )
            )
