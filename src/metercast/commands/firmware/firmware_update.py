"""FIRMWARE_UPDATE: a new firmware into the meter, verified, activated, and seen to run (class 18, catalogue 1.10).

The version that runs is read first in every session, so nothing is activated twice. A session ends with a checkpoint
where something else waits for the meter, and where the meter reboots; the next one goes on from the first block that
the meter misses.
"""

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from metercast.commands.contract import CommandType, FollowUp, MeterRefused, MeterSession, StepFailed
from metercast.commands.firmware.firmware_blocks import BlockTransfer, Interrupted
from metercast.commands.firmware.firmware_parameters import FirmwareUpdate, Progress, check
from metercast.commands.firmware.image_object import TO_ACTIVATE, ImageObject, TransferStatus, octets_text, version_text
from metercast.commands.firmware.image_schedule import ExecutionTime, ScheduleObject
from metercast.commands.firmware.verify_firmware import NAME as VERIFY
from metercast.commands.firmware.verify_firmware import verification
from metercast.commands.parameters import chosen
from metercast.commands.steps import read
from metercast.commands.tariff.activation import activation_instant, latest_instant
from metercast.dlms.cosem import CosemAttribute
from metercast.domain.command import CommandTraits, ConflictGroup
from metercast.domain.firmware import FirmwareImage, Transferred
from metercast.domain.outcome import Outcome
from metercast.domain.retry import Resend
from metercast.domain.words import ErrorClass, ErrorWord

# After a connection that broke off the meter has so long to notice; a verification is looked at that often.
RESUME_SECONDS = 15.0
VERIFY_POLL_SECONDS, VERIFY_POLLS, VERIFY_REST_SECONDS = 2.0, 10, 10.0
MAX_ACTIVATIONS = 3
FOLLOW_UP_REBOOT_SECONDS = 60.0  # of a task, whose meters may have any profile
FOLLOW_UP_MARGIN = timedelta(minutes=15)

_REBOOTING = frozenset({TransferStatus.ACTIVATION_INITIATED, TransferStatus.VERIFICATION_SUCCESSFUL})
_ACTIVATING = frozenset(
    {
        TransferStatus.ACTIVATION_INITIATED,
        TransferStatus.ACTIVATION_SUCCESSFUL,
        TransferStatus.ACTIVATION_FAILED,
    }
)


class Update:
    """One session's part of the update."""

    def __init__(self, session: MeterSession, parameters: FirmwareUpdate, image: FirmwareImage) -> None:
        objects = session.profile.objects
        self._session = session
        self._parameters = parameters
        self._image = image
        self._identifier = parameters.identifier_octets(image.name)
        self._target = ImageObject(chosen(parameters.obis, objects.image_transfer))
        self._version = CosemAttribute(1, chosen(parameters.version_obis, objects.firmware_version), 2)
        rules = session.profile.image
        self._reboot_seconds = _or(parameters.reboot_seconds, rules.reboot_seconds)
        self._max_reboot_minutes = _or(parameters.max_reboot_minutes, rules.max_reboot_minutes)
        self._max_verify_minutes = _or(parameters.max_verify_minutes, rules.max_verify_minutes)
        self._progress = Progress(image.sha256, "")
        self._blocks = BlockTransfer(session, self._target, image, self._identifier)

    async def run(self) -> Outcome:
        version = await read(self._session, self._version, version_text)
        self._progress = self._earlier(version)
        if version == self._parameters.version:
            return self._runs(version)
        status = await self._target.status(self._session)
        if await self._is_activating(status):
            return self._look_after(status, version)
        try:
            await self._transfer(status)
        except Interrupted as interrupted:
            self._count_blocks()
            return self._checkpoint(0.0 if interrupted.cause is None else RESUME_SECONDS)
        self._count_blocks()
        again = await self._verify()
        if again is not None:
            return again
        info = await self._check_info()
        if self._parameters.activation.mode == "manual":
            return Outcome.done(self._result(version, info=info, activated=False))
        if self._parameters.activation.mode == "at":
            return await self._schedule(version, info)
        return await self._activate()

    # -- where earlier sessions left it ----------------------------------------------------------------------------

    def _earlier(self, version: str) -> Progress:
        """What an earlier session left; of another image's nothing counts."""
        try:
            left = msgspec.convert(self._session.progress, Progress)
        except msgspec.ValidationError:
            left = None
        if left is not None and left.sha256 == self._image.sha256:
            return left
        return Progress(self._image.sha256, version)

    def _runs(self, version: str) -> Outcome:
        result = self._result(version)
        ours = self._progress.activations or self._session.verify_first
        return Outcome.done(result | {"activated": True}) if ours else Outcome.already_so(result)

    async def _is_activating(self, status: TransferStatus) -> bool:
        progress = self._progress
        if progress.stage != "activation":
            # A session whose end was not seen may have activated.
            return self._session.verify_first and status in _ACTIVATING and await self._blocks.was_told()
        # An activation that nobody acknowledged may not have reached the meter, which then still waits for it.
        lost = status is TransferStatus.VERIFICATION_SUCCESSFUL and not progress.is_acknowledged
        return not (lost and progress.activations < MAX_ACTIVATIONS)

    def _look_after(self, status: TransferStatus, version: str) -> Outcome:
        """After the activation the version is still the old one: the meter takes its time, or it has failed."""
        since = self._progress.since or self._session.now()
        if not self._is_over(since, self._patience(status)):
            self._go_on(stage="activation", since=since)
            return self._checkpoint(self._reboot_seconds, may_be_left=False)
        what = self._target.attribute(6)
        detail = f"{what}: {status.label} after the activation, and the version is {version!r}"
        raise StepFailed(ErrorWord.VERIFICATION_FAILED, detail, self._result(version))

    def _patience(self, status: TransferStatus) -> float:
        """For how many minutes after the activation that status, or the version that goes with it, may still change."""
        if status in _REBOOTING:
            return self._max_reboot_minutes
        if status is TransferStatus.ACTIVATION_SUCCESSFUL:
            return 2 * self._reboot_seconds / 60
        return 0.0

    # -- steps -----------------------------------------------------------------------------------------------------

    async def _transfer(self, status: TransferStatus) -> None:
        """The whole image is in the meter when it returns."""
        holds = await self._blocks.holds(status)
        began = self._session.verify_first or self._session.progress is not None
        if holds and status is TransferStatus.VERIFICATION_FAILED and began:
            return  # whose end an earlier session did not see
        if holds and status in (TransferStatus.VERIFICATION_INITIATED, TransferStatus.VERIFICATION_SUCCESSFUL):
            return
        if status is TransferStatus.ACTIVATION_INITIATED:
            raise StepFailed(ErrorWord.TEMPORARY_FAILURE, f"{self._target.attribute(6)}: {status.label}")
        await self._blocks.run(resume=holds and status is TransferStatus.INITIATED)

    def _count_blocks(self) -> None:
        """And whether the first of them were sent by whom nobody remembers."""
        is_first = self._session.progress is None
        self._go_on(
            blocks_sent=self._progress.blocks_sent + self._blocks.sent,
            is_resumed=self._progress.is_resumed or (is_first and self._blocks.is_resumed),
        )

    async def _verify(self) -> Outcome | None:
        """None: it is verified."""
        session, target = self._session, self._target
        status = await target.status(session)
        refused: MeterRefused | None = None
        if status is TransferStatus.INITIATED:
            try:
                await target.verify(session)
            except MeterRefused as error:  # temporary-failure: it is in progress
                refused = error
            status = await target.status(session)
            if status is TransferStatus.INITIATED:
                if refused is not None:
                    raise refused
                return None  # a meter that says success and keeps its status
        self._go_on(stage="verification", since=self._progress.since or session.now())
        polls = 0
        while status is TransferStatus.VERIFICATION_INITIATED:
            if session.should_yield or polls == VERIFY_POLLS:
                return self._verify_later()
            polls += 1
            await session.sleep(VERIFY_POLL_SECONDS)
            status = await target.status(session)
        if status is TransferStatus.VERIFICATION_SUCCESSFUL:
            return None
        return await self._not_verified(status)

    def _verify_later(self) -> Outcome:
        since = self._progress.since
        assert since is not None
        minutes = self._max_verify_minutes
        if self._is_over(since, minutes):
            detail = f"{self._target.attribute(6)}: the verification is in progress for more than {minutes:g} minutes"
            raise StepFailed(ErrorWord.VERIFICATION_FAILED, detail)
        return self._checkpoint(VERIFY_REST_SECONDS)

    async def _not_verified(self, status: TransferStatus) -> Outcome:
        """Permanent for this image; but blocks that were there before may have been another's, and are sent anew."""
        progress = self._progress
        if progress.is_resumed and progress.restarts == 0:
            await self._session.note_transferred(Transferred(self._image.sha256))
            fresh = Progress(progress.sha256, progress.version_before, blocks_sent=progress.blocks_sent, restarts=1)
            return Outcome.checkpoint(fresh.to_json(), may_be_left=True)
        detail = f"{self._target.attribute(6)}: {status.label}; the meter does not take this image"
        raise StepFailed(ErrorWord.VERIFICATION_FAILED, detail, self._result(progress.version_before))

    async def _check_info(self) -> dict[str, Any] | None:
        """What the meter says that it will activate is what was sent. None where it does not tell."""
        try:
            entries = await self._target.to_activate(self._session)
        except MeterRefused:
            return None
        wanted = self._parameters.signature_hex
        for entry in entries:
            if entry.size != len(self._image.octets) or entry.identification != self._identifier:
                continue
            if wanted is None or entry.signature == bytes.fromhex(wanted):
                return entry.to_json()
        what = self._target.attribute(TO_ACTIVATE)
        seen = (
            "; ".join(f"{entry.size} octets, {octets_text(entry.identification)!r}" for entry in entries) or "nothing"
        )
        detail = f"GET {what}: {seen}; sent were {len(self._image.octets)} octets, {octets_text(self._identifier)!r}"
        raise StepFailed(ErrorWord.VERIFICATION_FAILED, f"{detail}; not activated")

    async def _schedule(self, version: str, info: dict[str, Any] | None) -> Outcome:
        session, objects = self._session, self._session.profile.objects
        moment = activation_instant(self._parameters.activation.as_calendar, ZoneInfo(session.meter.record.time_zone))
        wanted = ExecutionTime.of(moment)
        if moment <= session.now():
            raise StepFailed(ErrorWord.EXPIRED, f"the activation time {wanted} passed; nothing was scheduled")
        schedule = ScheduleObject(chosen(self._parameters.schedule_obis, objects.image_activation_schedule))
        await schedule.check_script(session, objects.image_activation_scripts)
        await schedule.schedule(session, wanted)
        result = self._result(version, info=info, activated=False) | {"activationTime": str(wanted)}
        return Outcome.scheduled(result)

    async def _activate(self) -> Outcome:
        """The answer may never come, for the meter reboots: the version that it then tells decides."""
        session = self._session
        self._go_on(stage="activation", activations=self._progress.activations + 1, since=session.now())
        acknowledged = True
        try:
            await self._target.activate(session)
        except MeterRefused as refused:
            if refused.error is not ErrorWord.TEMPORARY_FAILURE:  # which says that it is pending
                raise
        except StepFailed as failure:
            if failure.error.error_class is ErrorClass.PERMANENT:
                raise
            acknowledged = False
        self._go_on(is_acknowledged=acknowledged)
        return self._checkpoint(self._reboot_seconds, may_be_left=False)

    # -- what it leaves --------------------------------------------------------------------------------------------

    def _go_on(self, **changes: Any) -> None:
        self._progress = msgspec.structs.replace(self._progress, **changes)

    def _checkpoint(self, delay_seconds: float, *, may_be_left: bool = True, **changes: Any) -> Outcome:
        self._go_on(**changes)
        return Outcome.checkpoint(self._progress.to_json(), delay_seconds=delay_seconds, may_be_left=may_be_left)

    def _is_over(self, since: datetime, minutes: float) -> bool:
        return self._session.now() - since >= timedelta(minutes=minutes)

    def _result(
        self, version: str, *, info: dict[str, Any] | None = None, activated: bool | None = None
    ) -> dict[str, Any]:
        image = self._image
        result: dict[str, Any] = {
            "image": {"name": image.name, "sha256": image.sha256, "size": len(image.octets)},
            "versionBefore": self._progress.version_before,
            "version": version,
            "blocksSent": self._progress.blocks_sent,
        }
        if info is not None:
            result["toActivate"] = info
        if activated is not None:
            result["activated"] = activated
        return result


def _or(given: float | None, of_profile: float) -> float:
    return of_profile if given is None else given


def follow_up(parameters: FirmwareUpdate) -> FollowUp | None:
    """A look at the version, where the activation is left to the meters."""
    if parameters.activation.mode != "at":
        return None
    reboot = timedelta(seconds=_or(parameters.reboot_seconds, FOLLOW_UP_REBOOT_SECONDS))
    due_at = latest_instant(parameters.activation.as_calendar) + reboot + FOLLOW_UP_MARGIN
    return FollowUp(due_at, VERIFY, verification(parameters.version, parameters.obis, parameters.version_obis))


async def perform(session: MeterSession, parameters: FirmwareUpdate) -> Outcome:
    return await Update(session, parameters, await session.image(parameters.image)).run()


FIRMWARE_UPDATE = CommandType(
    traits=CommandTraits(
        name="FIRMWARE_UPDATE",
        resend=Resend.VERIFY,
        conflict_group=ConflictGroup.FIRMWARE,
        expires_after=timedelta(days=7),
        can_read_back=True,
        is_long=True,
        needs_identity=True,
    ),
    parameters=FirmwareUpdate,
    perform=perform,
    check=check,
    follow_up=follow_up,
    image_of=lambda parameters: parameters.image,
    summary="Uploads a firmware image, verifies and activates it, and sees that the new version runs.",
)
