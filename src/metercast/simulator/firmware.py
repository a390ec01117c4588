"""The firmware of a meter: what runs, the image that is being taken, and the way from one to the other (class 18).

An image that a simulated meter accepts names what it is, and ends with the SHA-256 of all before it:
`SIMFW1`, a line with the identification, a line with the version, any octets, 32 octets of hash. What runs after the
activation is the version that stands in the image.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from random import Random

from metercast.dlms.errors import DecodeError

MAGIC = b"SIMFW1\n"
HASH_OCTETS = 32
FACTORY_VERSION = "SIM-1.0"
MAX_IMAGE = 16 << 20
Clock = Callable[[], float]


class TransferStatus(IntEnum):
    """Attribute 6 of the image transfer (catalogue 1.10)."""

    NOT_INITIATED = 0
    INITIATED = 1
    VERIFICATION_INITIATED = 2
    VERIFICATION_SUCCESSFUL = 3
    VERIFICATION_FAILED = 4
    ACTIVATION_INITIATED = 5
    ACTIVATION_SUCCESSFUL = 6
    ACTIVATION_FAILED = 7


class InProgress(Exception):
    """Ask again later."""


class NotNow(Exception):
    """The status does not allow it, or what is needed for it is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmwareSpec:
    """How a meter takes firmware. `enabled` is the transfer's state at the start. `verify_seconds` 0 answers the verify
    with its result, else it says that it is in progress. A meter that is not `answers_activation` reboots at once.
    """

    block_size: int = 512
    enabled: bool = True
    verify_seconds: float = 0.0
    reboot_seconds: float = 0.5
    answers_activation: bool = True


class ImageHead:
    """What an image says of itself; DecodeError where it is none, or damaged."""

    def __init__(self, image: bytes | bytearray) -> None:
        head = bytes(image[:1024])
        lines = head.removeprefix(MAGIC).split(b"\n", 2)
        if not head.startswith(MAGIC) or len(lines) != 3 or len(image) < HASH_OCTETS:
            raise DecodeError("no image of a simulated meter")
        self.signature = bytes(image[-HASH_OCTETS:])
        if hashlib.sha256(memoryview(image)[:-HASH_OCTETS]).digest() != self.signature:
            raise DecodeError("the image is damaged")
        self.identification = lines[0]
        self.version = lines[1].decode("ascii", "replace")


def make_image(identification: str, version: str, size: int, seed: int = 1) -> bytes:
    """An image of `size` octets that simulated meters accept; the same for the same arguments."""
    head = MAGIC + f"{identification}\n{version}\n".encode("ascii")
    room = size - len(head) - HASH_OCTETS
    if room < 0:
        raise ValueError(f"an image has at least {size - room} octets")
    body = head + Random(f"{seed}/{version}").randbytes(room)
    return body + hashlib.sha256(body).digest()


class Firmware:
    """`initiated`, `blocks` and `activated` count what really happened. `lose` are numbers of blocks that the meter
    acknowledges and forgets, once each, `busy` of those that it can't take now. `on_reboot` hears that it goes down,
    for so many seconds.
    """

    __slots__ = (
        "_buffer", "_clock", "_down_until", "_head", "_received", "_verified_at", "activated", "at", "blocks", "busy",
        "enabled", "identifier", "initiated", "lose", "on_reboot", "size", "spec", "status", "version",
    )  # fmt: skip

    def __init__(self, spec: FirmwareSpec, clock: Clock = time.monotonic) -> None:
        self.spec = spec
        self.version = FACTORY_VERSION
        self.enabled = spec.enabled
        self.status = TransferStatus.NOT_INITIATED
        self.identifier = b""
        self.size = 0
        self.initiated = self.blocks = self.activated = 0
        self.lose: set[int] = set()
        self.busy: set[int] = set()
        self.on_reboot: Callable[[float], None] | None = None
        self.at: float | None = None  # when the meter's clock reaches this, in seconds since 1970, it activates
        self._clock = clock
        self._buffer = bytearray()
        self._received = bytearray()  # an octet for each block
        self._head: ImageHead | None = None
        self._verified_at = 0.0
        self._down_until = 0.0

    @property
    def block_size(self) -> int:
        return self.spec.block_size

    @property
    def is_down(self) -> bool:
        """It reboots: nothing answers."""
        return self._clock() < self._down_until

    @property
    def received(self) -> str:
        """A bit for each block, the first one first."""
        return "".join("1" if each else "0" for each in self._received)

    @property
    def first_missing(self) -> int:
        """The number of blocks where none is missing."""
        found = self._received.find(0)
        return len(self._received) if found < 0 else found

    @property
    def to_activate(self) -> tuple[int, bytes, bytes] | None:
        """Size, identification and signature of the image that was verified."""
        if self._head is None or self.status is not TransferStatus.VERIFICATION_SUCCESSFUL:
            return None
        return self.size, self._head.identification, self._head.signature

    def initiate(self, identifier: bytes, size: int) -> None:
        """All blocks of an earlier image are gone. Raises NotNow."""
        if not self.enabled or not 0 < size <= MAX_IMAGE:
            raise NotNow
        self.identifier, self.size = identifier, size
        self._buffer = bytearray(size)
        self._received = bytearray(-(-size // self.block_size))
        self._head, self.at = None, None
        self.status = TransferStatus.INITIATED
        self.initiated += 1

    def take(self, number: int, octets: bytes) -> None:
        """Raises NotNow where nothing was initiated, or the block is not one of the image, and InProgress."""
        if not self.enabled or self.status is not TransferStatus.INITIATED or not 0 <= number < len(self._received):
            raise NotNow
        start = number * self.block_size
        if len(octets) != min(self.block_size, self.size - start):
            raise NotNow
        if number in self.busy:
            self.busy.discard(number)
            raise InProgress
        self.blocks += 1
        if number in self.lose:
            self.lose.discard(number)
            return
        self._buffer[start : start + len(octets)] = octets
        self._received[number] = 1

    def verify(self) -> None:
        """Raises NotNow where blocks are missing or the image is none, and InProgress."""
        if self.status is TransferStatus.VERIFICATION_SUCCESSFUL:
            return
        if self.status is TransferStatus.VERIFICATION_INITIATED:
            raise InProgress
        if not self.enabled or self.status is not TransferStatus.INITIATED or 0 in self._received:
            raise NotNow
        self.status = TransferStatus.VERIFICATION_INITIATED
        self._verified_at = self._clock() + self.spec.verify_seconds
        self.refresh()
        if self.status is TransferStatus.VERIFICATION_INITIATED:
            raise InProgress
        if self.status is TransferStatus.VERIFICATION_FAILED:
            raise NotNow

    def activate(self) -> None:
        """Runs the new version and reboots. Raises NotNow where no image was verified."""
        if self.status is not TransferStatus.VERIFICATION_SUCCESSFUL or self._head is None:
            raise NotNow
        self.status = TransferStatus.ACTIVATION_INITIATED
        self.activated += 1
        self.version = self._head.version
        self.at = None
        self._down_until = self._clock() + self.spec.reboot_seconds
        if self.on_reboot is not None:
            self.on_reboot(self.spec.reboot_seconds)

    def refresh(self, now: float | None = None) -> None:
        """Lets happen what the time brings; `now` is what the meter's clock shows, in seconds since 1970."""
        if self.status is TransferStatus.VERIFICATION_INITIATED and self._clock() >= self._verified_at:
            self._end_verification()
        if self.status is TransferStatus.ACTIVATION_INITIATED and not self.is_down:
            self.status = TransferStatus.ACTIVATION_SUCCESSFUL
            self._buffer, self._received = bytearray(), bytearray()
        if now is not None and self.at is not None and now >= self.at and self.to_activate is not None:
            self.activate()

    def _end_verification(self) -> None:
        try:
            self._head = ImageHead(self._buffer)
        except DecodeError:
            self.status = TransferStatus.VERIFICATION_FAILED
        else:
            self.status = TransferStatus.VERIFICATION_SUCCESSFUL
