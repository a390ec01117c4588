"""One session with one meter, as commands see it: what they read and change, and how far it came."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from metercast.commands.contract import MeterRefused, StepFailed
from metercast.commands.known_scales import KnownScales
from metercast.commands.object_lists import ObjectLists
from metercast.dlms.cosem import CosemAttribute, CosemMethod
from metercast.dlms.data import Data
from metercast.dlms.errors import DlmsError
from metercast.dlms.events import ActionResult, SetResult
from metercast.dlms.results import ActionResultCode
from metercast.domain.firmware import FirmwareImage, Transferred
from metercast.domain.meter import Meter
from metercast.domain.outcome import Phase
from metercast.domain.words import ErrorWord
from metercast.driver.contact import Means, MeterContact
from metercast.driver.contract import Checkpoint, GiveBack
from metercast.driver.conversation import Conversation
from metercast.driver.failures import Step, failure_of, refused_by, unexpected
from metercast.driver.images import ImageShelf
from metercast.driver.lists import ListReader
from metercast.driver.session_secrets import SessionSecrets
from metercast.driver.watch import Watch
from metercast.profiles.model import Profile


class DlmsSession(MeterContact):
    """Implements commands.contract.MeterSession over the way to the meter."""

    __slots__ = ("_lists", "keys")

    def __init__(self, meter: Meter, profile: Profile, checkpoint: Checkpoint, watch: Watch, means: Means) -> None:
        super().__init__(meter, profile, checkpoint, watch, means)
        self.keys = SessionSecrets(self, means.keeper, checkpoint.task_id)
        self._lists = ListReader(self._open, self.get)

    @property
    def model(self) -> Hashable | None:
        """The record's profile, the maker in the system title, and who asks: each client is shown a list of its own."""
        title, settings = self.proved_system_title, self._settings
        if title is None or settings is None:
            return None
        return self.meter.record.profile, title[:3], settings.client_sap, settings.server_sap

    @property
    def object_lists(self) -> ObjectLists:
        return self._means.object_lists

    @property
    def proof(self) -> Hashable | None:
        """The whole system title; what else decides what a client is shown is as in `model`."""
        title, model = self.proved_system_title, self.model
        return None if title is None or model is None else (title, model)

    @property
    def known_scales(self) -> KnownScales:
        return self._means.known_scales

    @property
    def verify_first(self) -> bool:
        return self._checkpoint.verify_first

    @property
    def progress(self) -> Any:
        return self._checkpoint.progress

    @property
    def should_yield(self) -> bool:
        return self._checkpoint.should_yield

    async def image(self, reference: str) -> FirmwareImage:
        return await self._shelf().get(reference)

    async def transferred(self) -> Transferred | None:
        return await self._shelf().transferred(self.meter.device_id)

    async def note_transferred(self, transferred: Transferred) -> None:
        try:
            await self._shelf().note(self.meter.device_id, transferred)
        except GiveBack:
            if not transferred.blocks:
                raise

    @property
    def has_changed(self) -> bool:
        return self.phase is Phase.CHANGING

    async def settle(self, progress: Any) -> None:
        await self._checkpoint.settle(progress)
        if self.phase is Phase.CHANGING:
            self.phase = Phase.READING

    @property
    def send_delay(self) -> float:
        return self._conversation.send_delay if self._conversation is not None else 0.0

    async def get_list(self, attributes: Sequence[CosemAttribute]) -> list[Data | MeterRefused]:
        return await self._lists.read(attributes)

    async def set(self, attribute: CosemAttribute, value: Data | Callable[[], Data]) -> None:
        conversation = await self._open()
        what = Step("SET", attribute)
        self.ask_to_change()
        try:
            apdu = conversation.association.set(attribute, value() if callable(value) else value)
        except DlmsError as error:
            raise failure_of(error, what) from error
        self._send_change(conversation, apdu)
        event = await conversation.answer(what)
        if not isinstance(event, SetResult):
            raise unexpected(what, event)
        if event.error is not None:
            raise refused_by(what, event.error)

    async def action(self, method: CosemMethod, parameter: Data | None = None) -> Data | None:
        conversation = await self._open()
        what = Step("ACTION", method)
        self.ask_to_change()
        try:
            apdu = conversation.association.action(method, parameter)
        except DlmsError as error:
            raise failure_of(error, what) from error
        self._send_change(conversation, apdu)
        event = await conversation.answer(what)
        if not isinstance(event, ActionResult):
            raise unexpected(what, event)
        if event.result is not ActionResultCode.SUCCESS:
            raise refused_by(what, event.result)
        return event.data

    async def end(self) -> None:
        self.keys.end()
        await super().end()

    def _send_change(self, conversation: Conversation, apdu: bytes) -> None:
        self.known_scales.forget(self.meter.device_id)  # whatever it changes
        conversation.send(apdu, self._note_change)

    def _note_change(self) -> None:
        self.phase = Phase.CHANGING

    def _shelf(self) -> ImageShelf:
        if self._means.images is None:
            raise StepFailed(ErrorWord.IMAGE_MISSING, "there is no store of images")
        return self._means.images
