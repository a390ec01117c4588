"""Sending answers, with the faults of the line: late, in pieces, cut off, garbage, or not at all."""

import asyncio
import struct
from collections import deque
from collections.abc import Callable
from random import Random

from metercast.simulator.faults import (
    CutFrames,
    DelayAnswers,
    DropConnection,
    Faults,
    Garbage,
    HugeLength,
    NeverAnswer,
)

MAX_WAITING = 256
_HUGE_HEADER = struct.Struct(">HHHH")


class Overflow(Exception):
    """The client asks faster than this meter answers."""


class Outbox:
    """Sends frames of one session in order. Where no fault touches the line, `write` is called at once.

    `played` is told the kind of each fault the first time that it shows.
    """

    __slots__ = (
        "_abort",
        "_answers",
        "_cut",
        "_delay",
        "_drop",
        "_garbage",
        "_huge",
        "_mute",
        "_plain",
        "_played",
        "_random",
        "_shown",
        "_timer",
        "_waiting",
        "_write",
        "sent",
    )

    def __init__(
        self,
        faults: Faults,
        write: Callable[[bytes], None],
        abort: Callable[[], None],
        played: Callable[[str], None],
        random: Random,
    ) -> None:
        self._write, self._abort, self._played, self._random = write, abort, played, random
        self._delay: DelayAnswers | None = None
        self._cut: CutFrames | None = None
        self._drop: int | None = None
        self._garbage: Garbage | None = None
        self._huge: HugeLength | None = None
        self._mute = False
        self._shown: set[str] = set()
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._answers = 0
        self.sent = 0
        for fault in faults:
            self._take(fault)
        self._plain = not (
            self._mute or self._delay or self._cut or self._garbage or self._huge or (self._drop is not None)
        )

    def _take(self, fault: object) -> None:
        match fault:
            case NeverAnswer():
                self._mute = True
            case DelayAnswers():
                self._delay = fault
            case CutFrames():
                self._cut = fault
            case Garbage():
                self._garbage = fault
            case HugeLength():
                self._huge = fault
            case DropConnection(after_sent=int(limit)):
                self._drop = limit

    @property
    def mute(self) -> bool:
        return self._mute

    def show(self, kind: str) -> None:
        if kind not in self._shown:
            self._shown.add(kind)
            self._played(kind)

    def send(self, frame: bytes) -> None:
        """Raises Overflow where more than MAX_WAITING pieces wait already."""
        if self._plain:
            self.sent += len(frame)
            self._write(frame)
            return
        if self._mute:
            self.show("never-answer")
            return
        if len(self._waiting) >= MAX_WAITING:
            raise Overflow
        octets = self._spoiled(frame)
        self._answers += 1
        delay = 0.0
        if self._delay is not None:
            self.show(self._delay.kind)
            delay = self._random.uniform(self._delay.minimum, self._delay.maximum)
        if self._cut is None:
            self._waiting.append((delay, octets))
        else:
            self.show(self._cut.kind)
            size = self._cut.octets
            for start in range(0, len(octets), size):
                self._waiting.append((delay, octets[start : start + size]))
                delay = self._cut.pause
        self._go_on()

    def close(self) -> None:
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _spoiled(self, frame: bytes) -> bytes:
        if self._garbage is not None and self._answers >= self._garbage.after_answers:
            self.show(self._garbage.kind)
            return self._random.randbytes(self._garbage.octets)
        if self._huge is not None and self._answers >= self._huge.after_answers:
            self.show(self._huge.kind)
            version, source, destination, _ = _HUGE_HEADER.unpack_from(frame)
            return _HUGE_HEADER.pack(version, source, destination, 0xFFFF) + frame[_HUGE_HEADER.size :]
        return frame

    def _go_on(self) -> None:
        while self._waiting and self._timer is None:
            delay, octets = self._waiting[0]
            if delay > 0:
                self._waiting[0] = (0.0, octets)
                self._timer = asyncio.get_running_loop().call_later(delay, self._elapsed)
                return
            self._waiting.popleft()
            self._pass(octets)

    def _elapsed(self) -> None:
        self._timer = None
        self._go_on()

    def _pass(self, octets: bytes) -> None:
        if self._drop is not None and self.sent + len(octets) >= self._drop:
            octets = octets[: self._drop - self.sent]
            self.sent += len(octets)
            self._write(octets)
            self.show("drop-connection")
            self.close()
            self._abort()
            return
        self.sent += len(octets)
        self._write(octets)
