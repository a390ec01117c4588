"""Images in memory, and updates of one simulated meter session by session, as the engine would run them."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.driver.support import ScriptedCheckpoint, command, driver

from metercast.domain.meter import Meter
from metercast.domain.outcome import Outcome, OutcomeKind
from metercast.domain.problem import NotFound
from metercast.driver.images import ImageShelf
from metercast.driver.timeouts import Timeouts
from metercast.profiles.collection import BUILT_IN, Profiles
from metercast.store.images import IMAGE_CHUNK, Image, Transfer

MOST_SESSIONS = 40
PATIENT = Timeouts(connect=5.0, progress=5.0, session=60.0, release=0.5)


class MemoryImages:
    """Implements store.images.ImageStore; `read` counts the pieces that were asked for."""

    def __init__(self, images: dict[str, bytes]) -> None:
        self.octets = {hashlib.sha256(each).hexdigest(): each for each in images.values()}
        self.names = {hashlib.sha256(each).hexdigest(): name for name, each in images.items()}
        self.noted: dict[str, Transfer] = {}
        self.notes: list[Transfer] = []
        self.read = 0

    async def list_images(self) -> list[Image]:
        created = datetime(2026, 1, 1, tzinfo=UTC)
        return [Image(self.names[each], each, len(octets), created) for each, octets in self.octets.items()]

    async def find_image(self, sha256: str) -> Image | None:
        return next((each for each in await self.list_images() if each.sha256 == sha256), None)

    async def read_image_chunk(self, sha256: str, number: int) -> bytes:
        self.read += 1
        piece = self.octets.get(sha256, b"")[number * IMAGE_CHUNK : (number + 1) * IMAGE_CHUNK]
        if not piece:
            raise NotFound(f"image {sha256} has no piece {number}")
        return piece

    async def note_transfers(self, transfers: Sequence[Transfer]) -> None:
        self.notes += transfers
        self.noted |= {each.device_id: each for each in transfers}

    async def find_transfer(self, device_id: str) -> Transfer | None:
        return self.noted.get(device_id)

    async def begin_image(self, name: str, sha256: str, size: int, created_at: datetime | None = None) -> Image | None:
        raise NotImplementedError

    async def put_image_chunk(self, sha256: str, number: int, octets: bytes) -> None:
        raise NotImplementedError

    async def seal_image(self, sha256: str) -> Image:
        raise NotImplementedError

    async def delete_image(self, sha256: str) -> None:
        raise NotImplementedError

    def export_transfers(self) -> AsyncIterator[list[Transfer]]:
        raise NotImplementedError


@dataclass
class Campaign:
    """FIRMWARE_UPDATE on one meter: what each session came to, and what the next one is given.

    `verify_first` and `progress` are what the engine hands from session to session.
    """

    meter: Meter
    images: MemoryImages
    parameters: dict[str, Any]
    timeouts: Timeouts = PATIENT
    profiles: Profiles = BUILT_IN
    outcomes: list[Outcome] = field(default_factory=list)
    progress: Any = None
    verify_first: bool = False

    async def session(self, **options: Any) -> Outcome:
        """One session; `options` go to the checkpoint."""
        checkpoint = ScriptedCheckpoint(verify_first=self.verify_first, progress=self.progress, **options)
        by = driver(timeouts=self.timeouts, profiles=self.profiles, images=ImageShelf(self.images))
        outcome = await by.execute(command("FIRMWARE_UPDATE", self.parameters), self.meter, checkpoint)
        self.outcomes.append(outcome)
        if outcome.kind is OutcomeKind.CHECKPOINT:
            self.progress, self.verify_first = outcome.progress, False
        else:
            self.verify_first = True
        return outcome

    async def run(self, until: Callable[[Outcome], bool] = lambda outcome: outcome.succeeded) -> Outcome:
        """Sessions until one of them ends as wanted; fails the test after too many."""
        for _ in range(MOST_SESSIONS):
            outcome = await self.session()
            if until(outcome):
                return outcome
            assert outcome.error is None or outcome.error.error_class != "permanent", outcome.detail
            await asyncio.sleep(0.05)  # the engine waits longer
        raise AssertionError([(each.kind, each.detail) for each in self.outcomes])
