"""The image into the meter, block by block: resumed where an earlier session left it (catalogue 1.10, steps 1 to 5).

The initiate wipes what the meter has. So it is sent only where the meter does not hold blocks of this image, which is
noted of each meter durably: before the initiate that it is uncertain, after it that it is this one.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from metercast.commands.contract import MeterRefused, MeterSession, StepFailed
from metercast.commands.firmware.image_object import ImageObject, TransferStatus
from metercast.domain.firmware import FirmwareImage, Transferred
from metercast.domain.words import ErrorClass, ErrorWord

NOTE_SECONDS = 10.0
INITIATE_POLL_SECONDS = 2.0
BLOCK_TRIES, BLOCK_PAUSE_SECONDS = 4, 1.0
REPAIR_ROUNDS = 5

_HOLDS_BLOCKS = frozenset(
    {
        TransferStatus.INITIATED,
        TransferStatus.VERIFICATION_INITIATED,
        TransferStatus.VERIFICATION_SUCCESSFUL,
        TransferStatus.VERIFICATION_FAILED,
    }
)


class Interrupted(Exception):
    """The session ends here and the transfer goes on in another: something waits, or the way to the meter broke off
    after blocks had arrived."""

    def __init__(self, cause: StepFailed | None = None) -> None:
        super().__init__()
        self.cause = cause


class BlockTransfer:
    """One session's part of the transfer. `sent` counts the blocks that the meter took in it."""

    def __init__(self, session: MeterSession, target: ImageObject, image: FirmwareImage, identifier: bytes) -> None:
        self._session = session
        self._target = target
        self._image = image
        self._identifier = identifier
        self._size = 0
        self._noted_at: datetime = session.now()
        self.total = 0
        self.sent = 0
        self.is_resumed = False

    async def was_told(self) -> bool:
        """Whether this image is what the meter is known to have taken up last."""
        noted = await self._session.transferred()
        return noted is not None and noted.sha256 == self._image.sha256 and noted.total > 0

    async def holds(self, status: TransferStatus) -> bool:
        """Whether the blocks that the meter holds are known to be this image's."""
        return status in _HOLDS_BLOCKS and await self.was_told()

    async def run(self, *, resume: bool) -> None:
        """All blocks are in the meter when it returns. Raises Interrupted, StepFailed and GiveBack."""
        session, target = self._session, self._target
        await target.enable(session)
        self._size = await target.block_size(session)
        self.total = -(-len(self._image.octets) // self._size)
        noted = await session.transferred()
        if resume and noted is not None and noted.total == self.total:
            self.is_resumed = True
            missing = await self._missing(self.total)
        else:
            await self._initiate()
            missing = range(self.total)
        await self._send(missing)
        for _ in range(REPAIR_ROUNDS):
            missing = await self._missing(self.total)
            if not missing:
                await self._note(self.total)
                return
            await self._send(missing)
        detail = f"{target.attribute(4)}: blocks are missing after {REPAIR_ROUNDS} repetitions"
        raise StepFailed(ErrorWord.TRANSFER_ABORTED, detail)

    async def _initiate(self) -> None:
        """What the meter answers decides less than the status that it then has."""
        session, target = self._session, self._target
        await session.note_transferred(Transferred(self._image.sha256))
        refused: MeterRefused | None = None
        try:
            await target.initiate(session, self._identifier, len(self._image.octets))
        except MeterRefused as error:
            refused = error
        polls = 1 + int(session.profile.image.max_initiate_seconds / INITIATE_POLL_SECONDS)
        for left in reversed(range(polls)):
            status = await target.status(session)
            if status is TransferStatus.INITIATED:
                await self._note(0)
                return
            if refused is not None and refused.error.error_class is ErrorClass.PERMANENT:
                raise refused
            if left:
                await session.sleep(INITIATE_POLL_SECONDS)
        detail = f"{target.attribute(6)}: {status.label} after the initiate"
        raise refused or StepFailed(ErrorWord.TEMPORARY_FAILURE, detail)

    async def _missing(self, total: int) -> Iterable[int] | None:
        """The numbers of the blocks that the meter has not; None where it has all."""
        first = await self._target.first_missing(self._session)
        if first >= total:
            return None
        return await self._target.missing(self._session, total) or range(first, total)

    async def _send(self, numbers: Iterable[int] | None) -> None:
        session, size, octets = self._session, self._size, self._image.octets
        for number in numbers or ():
            if self.sent and session.should_yield:  # each session comes a block further at least
                await self._note(number)
                raise Interrupted
            try:
                await self._send_block(number, octets[number * size : (number + 1) * size])
            except MeterRefused:
                raise
            except StepFailed as failure:
                if self.sent == 0 or failure.error.error_class is ErrorClass.PERMANENT:
                    raise
                await self._note(number)
                raise Interrupted(failure) from failure
            self.sent += 1
            if session.now() - self._noted_at >= timedelta(seconds=NOTE_SECONDS):
                await self._note(number + 1)

    async def _send_block(self, number: int, octets: bytes) -> None:
        """A block that the meter can't take now is sent again: blocks are idempotent."""
        for left in reversed(range(BLOCK_TRIES)):
            try:
                await self._target.transfer(self._session, number, octets)
            except MeterRefused as refused:
                if left == 0 or refused.error is not ErrorWord.TEMPORARY_FAILURE:
                    raise
                await self._session.sleep(BLOCK_PAUSE_SECONDS)
            else:
                return

    async def _note(self, blocks: int) -> None:
        self._noted_at = self._session.now()
        await self._session.note_transferred(Transferred(self._image.sha256, blocks, self.total))
