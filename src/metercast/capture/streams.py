"""Each direction of a TCP connection in its order, whatever order and however often its segments were captured."""

from typing import Final, NamedTuple

from metercast.capture.packets import FIN, RST, SYN

MAX_WAITING_OCTETS: Final = 256 * 1024
MAX_WAITING_SEGMENTS: Final = 256
_MODULUS: Final = 1 << 32
_HALF: Final = 1 << 31


class Piece(NamedTuple):
    """Octets that follow what came before; `missing` were not captured in front of them."""

    octets: bytes
    missing: int = 0


class Stream:
    """One direction. Octets in front of a hole wait until it is filled, or until too many wait behind it."""

    def __init__(self) -> None:
        self._next: int | None = None
        self._waiting: dict[int, bytes] = {}
        self._waiting_octets = 0
        self.is_over = False  # FIN or RST was seen

    def begins_anew(self, sequence: int, flags: int) -> bool:
        """A SYN that is no repetition: the ports are used for another connection."""
        if not flags & SYN or self._next is None:
            return False
        return self.is_over or not 0 <= (self._next - (sequence + 1)) % _MODULUS < _HALF

    def feed(self, sequence: int, flags: int, payload: bytes) -> list[Piece]:
        """What is in order now."""
        if flags & SYN:
            sequence = (sequence + 1) % _MODULUS
        if self._next is None:
            self._next = sequence
        if flags & (FIN | RST):
            self.is_over = True
        if payload:
            self._keep(sequence, payload)
        pieces = self._in_order()
        while self._waiting_octets > MAX_WAITING_OCTETS or len(self._waiting) > MAX_WAITING_SEGMENTS:
            pieces += self._over_the_hole()
        return pieces

    def flush(self) -> list[Piece]:
        """All that waits, for nothing more will come."""
        pieces: list[Piece] = []
        while self._waiting:
            pieces += self._over_the_hole()
        return pieces

    def _keep(self, sequence: int, payload: bytes) -> None:
        assert self._next is not None
        ahead = (sequence - self._next) % _MODULUS
        if ahead >= _HALF:  # begins with what is known already
            payload = payload[_MODULUS - ahead :]
            sequence = self._next
        known = self._waiting.get(sequence, b"")
        if len(payload) > len(known):
            self._waiting[sequence] = payload
            self._waiting_octets += len(payload) - len(known)

    def _in_order(self) -> list[Piece]:
        pieces = []
        while self._waiting:
            assert self._next is not None
            start = min(self._waiting, key=self._distance)
            if 0 < self._distance(start) < _HALF:
                break
            payload = self._waiting.pop(start)
            self._waiting_octets -= len(payload)
            fresh = payload[(self._next - start) % _MODULUS :]
            if fresh:
                pieces.append(Piece(fresh))
                self._next = (self._next + len(fresh)) % _MODULUS
        return pieces

    def _over_the_hole(self) -> list[Piece]:
        assert self._next is not None
        start = min(self._waiting, key=self._distance)
        missing = self._distance(start)
        self._next = start
        first, *more = self._in_order()
        return [Piece(first.octets, missing), *more]

    def _distance(self, sequence: int) -> int:
        """How far ahead of what is due; what lies behind it counts as due."""
        assert self._next is not None
        ahead = (sequence - self._next) % _MODULUS
        return ahead if ahead < _HALF else 0
