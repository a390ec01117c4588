"""What a command type is, and what it may ask of the session that it runs in."""

from collections.abc import Awaitable, Callable, Hashable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from metercast.commands.secret_changes import SecretChanges
from metercast.dlms.cosem import CosemAttribute, CosemMethod, Selection
from metercast.dlms.data import Data
from metercast.dlms.logical_name import LogicalName
from metercast.domain.command import CommandTraits, joined
from metercast.domain.firmware import FirmwareImage, Transferred
from metercast.domain.meter import Meter
from metercast.domain.outcome import Outcome
from metercast.domain.words import ErrorWord
from metercast.profiles.model import Profile

if TYPE_CHECKING:
    from metercast.commands.known_scales import KnownScales
    from metercast.commands.object_lists import ObjectLists


class StepFailed(Exception):
    """A COSEM step ended in an error word; `detail` names the step, the object and the meter's code.

    `result` goes to the outcome: what was read before it failed. `progress` goes to the session that follows, if any.
    """

    def __init__(self, error: ErrorWord, detail: str, result: Any = None, progress: Any = None) -> None:
        super().__init__(detail)
        self.error = error
        self.detail = detail
        self.result = result
        self.progress = progress


class MeterRefused(StepFailed):
    """The meter answered this one service with a result code that is no success; the association lives on."""


class SelectionUnavailable(StepFailed):
    """The association that was negotiated has no selective access: the whole attribute can be read."""


class MeterSession(Protocol):
    """One association with one meter, identity checked. Every call has a timeout and may raise StepFailed.

    `set` and `action` first ask whether the task still wants the change (cancelled, paused, expired, lease lost).
    """

    @property
    def meter(self) -> Meter: ...

    @property
    def profile(self) -> Profile:
        """What differs per model: logical names where a task names none, orders, limits, signs, delays."""
        ...

    @property
    def model(self) -> Hashable | None:
        """What meters that have the same objects share, but for their firmware; None where nothing tells."""
        ...

    @property
    def object_lists(self) -> "ObjectLists":
        """What is known of models."""
        ...

    @property
    def proof(self) -> Hashable | None:
        """Equal in two sessions only where the same meter showed the same client; None where nothing tells."""
        ...

    @property
    def known_scales(self) -> "KnownScales":
        """What is known of meters' scalers and units."""
        ...

    @property
    def verify_first(self) -> bool:
        """True where an earlier session of this command may have changed the meter and did not see its end."""
        ...

    @property
    def progress(self) -> Any:
        """What an earlier session of this command left in its checkpoint, or None."""
        ...

    @property
    def should_yield(self) -> bool:
        """A long command asks this between its steps, and then returns a checkpoint: something else waits."""
        ...

    async def image(self, reference: str) -> FirmwareImage:
        """The image that the parameters name. Raises StepFailed(ImageMissing)."""
        ...

    async def transferred(self) -> Transferred | None:
        """What was noted last of this meter, by whatever command."""
        ...

    async def note_transferred(self, transferred: Transferred) -> None:
        """Durable when it returns. A count of blocks is noted as well as it goes."""
        ...

    @property
    def keys(self) -> SecretChanges:
        """Replacing the secrets of this association; each proof opens a fresh one."""
        ...

    @property
    def has_changed(self) -> bool:
        """True where the meter may have been changed since the session began, or since `settle`."""
        ...

    async def settle(self, progress: Any) -> None:
        """Keeps `progress` durably while the session goes on: all that this command did so far is known and told in it.

        A session that follows, also after a crash, has it as its progress, and what was done before needs no
        verification any more. Raises what ends a session where it can't be kept.
        """
        ...

    @property
    def send_delay(self) -> float:
        """Seconds that each request waits for the line before it goes out."""
        ...

    def now(self) -> datetime:
        """The wall clock, UTC."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Waits, for polling a state of the meter; bounded by the session's timeout."""
        ...

    async def get(self, attribute: CosemAttribute, selection: Selection | None = None) -> Data:
        """The attribute's value, or of it what `selection` asks for.

        Raises MeterRefused where the meter answers with a data-access-result, and SelectionUnavailable, before
        anything is sent, where the association has no selective access.
        """
        ...

    async def get_list(self, attributes: Sequence[CosemAttribute]) -> list[Data | MeterRefused]:
        """The values of several attributes, in as few round trips as the association allows.

        Each attribute has its own result, in the order asked for: its value, or the refusal that `get` would raise.
        """
        ...

    async def set(self, attribute: CosemAttribute, value: Data | Callable[[], Data]) -> None:
        """Writes the attribute; raises MeterRefused where the meter answers with a data-access-result.

        A value that depends on the moment is a function, called when the request is encoded.
        """
        ...

    async def action(self, method: CosemMethod, parameter: Data | None = None) -> Data | None:
        """The method's return parameters, if any; raises MeterRefused at an action-result that is no success."""
        ...


P = TypeVar("P", bound=msgspec.Struct)

Perform = Callable[[MeterSession, P], Awaitable[Outcome]]


class FollowUp(msgspec.Struct, frozen=True):
    """What another task is to do from `due_at` on, on the meters where a command ended as SCHEDULED."""

    due_at: datetime
    command_type: str
    command_params: dict[str, Any]


class CommandType(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the registry.

    `parameters` is the msgspec type of commandParams; `check` raises InvalidField (paths below `commandParams`) for
    what types alone can't say, before any I/O, with `now` as the instant of submission; `perform` runs the COSEM
    steps in one session and returns the outcome; `image_of` tells which firmware image the parameters name. `members`
    are the types of which a command with these parameters is made up, where there are such; they raise InvalidField
    where one is not known. `follow_up` is what looks later at the meters that were left to do something by themselves.
    `target` is the class and the logical name of the object that a command is for, where a meter may lack it.
    `hides_values`: what does not validate is not repeated, for it could be a secret.
    """

    traits: CommandTraits
    parameters: type[msgspec.Struct]
    perform: Callable[[MeterSession, Any], Awaitable[Outcome]]
    check: Callable[[Any, datetime], None] | None = None
    members: Callable[[Any], Sequence["CommandType"]] | None = None
    follow_up: Callable[[Any], FollowUp | None] | None = None
    image_of: Callable[[Any], str] | None = None
    target: Callable[[Any, Profile], tuple[int, LogicalName]] | None = None
    hides_values: bool = False
    summary: str = ""

    @property
    def name(self) -> str:
        return self.traits.name

    def members_of(self, parameters: Any) -> Sequence["CommandType"]:
        """Itself, where it is not made up of others."""
        return (self,) if self.members is None else self.members(parameters)

    def follow_up_of(self, parameters: Any) -> FollowUp | None:
        """Of a command that is made up of others, that of the last of them that has one: what it leaves holds."""
        return None if self.follow_up is None else self.follow_up(parameters)

    def traits_for(self, parameters: Any) -> CommandTraits:
        """With these parameters: of a command that is made up of others, what is strictest in them."""
        if self.members is None:
            return self.traits
        return joined(self.traits, [each.traits for each in self.members(parameters)])

    def image_named(self, raw: dict[str, Any] | None) -> str | None:
        """The image that stored parameters name, or None."""
        if self.image_of is None:
            return None
        try:
            return self.image_of(msgspec.convert({} if raw is None else raw, self.parameters))
        except msgspec.ValidationError:  # of another version
            return None
