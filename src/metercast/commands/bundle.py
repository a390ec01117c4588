"""BUNDLE: several commands in one association with each meter, with a result of each.

What is strictest in its members holds for all of it: retry class, limits, identity, expiry, conflict group. A member
that ended is not run again. What a member changed is known, and kept durably, before the next one begins; so a session
that follows a lost one, or a crash, verifies the one member that was under way, as that command does alone.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal, cast

import msgspec

from metercast.commands.contract import CommandType, FollowUp, MeterRefused, MeterSession, StepFailed
from metercast.commands.object_lists import check_target
from metercast.commands.parameters import ROOT, convert, parse_parameters, require
from metercast.commands.steps import worst
from metercast.domain.command import CommandTraits, joined
from metercast.domain.outcome import How, Outcome, OutcomeKind, Phase
from metercast.domain.problem import InvalidField
from metercast.domain.retry import Resend
from metercast.domain.words import FOUND_BY_READING, ErrorClass, ErrorWord

NAME: Final = "BUNDLE"
MAX_COMMANDS: Final = 16
MAX_RESULT_OCTETS: Final = 4 * 1024 * 1024  # of all results together, as JSON
MAX_SESSION: Final = timedelta(minutes=4)  # then the next member has an association of its own
MAX_TRIES: Final = 2  # sessions that one member may fail in before the others go on without it

# Permanent words that end the session, and with it all that is left of the bundle.
_FATAL: Final = frozenset(
    {
        ErrorWord.SECURITY_VIOLATION,
        ErrorWord.IDENTITY_MISMATCH,
        ErrorWord.IDENTITY_REQUIRED,
        ErrorWord.ASSOCIATION_REJECTED,
        ErrorWord.AUTHENTICATION_FAILED,
        ErrorWord.CREDENTIALS_MISSING,
        ErrorWord.INTERNAL_ERROR,
    }
)
_HOWS: Final = (How.ARMED, How.SCHEDULED, How.DONE, How.ALREADY_SO)  # what says most of a whole first


class BundledCommand(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    command: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    parameters: dict[str, Any] = {}


class Bundle(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    commands: Annotated[list[BundledCommand], msgspec.Meta(min_length=1, max_length=MAX_COMMANDS)]
    on_failure: Literal["stop", "continue"] = "stop"


class Ended(msgspec.Struct, frozen=True, omit_defaults=True):
    """A member that will not be run again. Its command stands in the parameters, its outcome is how or an error."""

    how: How | None = None
    error: ErrorWord | None = None
    detail: str | None = None
    result: Any = None


class Progress(msgspec.Struct, omit_defaults=True):
    """`member` is the progress of the one under way; `failures` are the sessions that it failed in."""

    ended: list[Ended] = []
    member: Any = None
    failures: int = 0


class Member:
    """The session as one member sees it: its own progress, and its own share of what is open."""

    def __init__(self, session: MeterSession, progress: Progress, *, verify_first: bool) -> None:
        self._session = session
        self._progress = progress
        self.verify_first = verify_first
        self.settled = False

    @property
    def progress(self) -> Any:
        return self._progress.member

    async def settle(self, progress: Any) -> None:
        self._progress.member = progress
        await self._session.settle(msgspec.to_builtins(self._progress))
        self.settled = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


class Run:
    """One session of a bundle."""

    def __init__(self, session: MeterSession, parameters: Bundle, types: Sequence[CommandType]) -> None:
        self._session = session
        self._parameters = parameters
        self._types = types
        self._progress = Progress() if session.progress is None else msgspec.convert(session.progress, Progress)
        self._verifies = session.verify_first
        self._ends_at = session.now() + MAX_SESSION

    async def perform(self) -> Outcome:
        ended = self._progress.ended
        while len(ended) < len(self._types) and not self._stops:
            if ended and self._session.now() >= self._ends_at:
                return Outcome.checkpoint(self._kept())
            checkpoint = await self._next(len(ended))
            if checkpoint:
                return Outcome.checkpoint(self._kept())
        errors = [each.error for each in ended if each.error is not None]
        if errors:
            number = next(index for index, each in enumerate(ended) if each.error is worst(errors))
            detail = self._named(number, ended[number].detail or "")
            phase = Phase.CHANGING if self._session.has_changed else Phase.READING
            return Outcome.gave_up(worst(errors), detail, phase, self._shown())
        how = next(each for each in _HOWS if any(one.how is each for one in ended))
        return Outcome(OutcomeKind.SUCCEEDED, _success(how).phase, how, result=self._shown())

    @property
    def _stops(self) -> bool:
        return self._parameters.on_failure == "stop" and any(each.error for each in self._progress.ended)

    async def _next(self, number: int) -> bool:
        """Runs the next member to its end, or raises StepFailed where it is to be run again; true: in a session that
        follows, which is no failure."""
        type_ = self._types[number]
        verifies = self._verifies and type_.traits.resend is not Resend.SAFE
        member = Member(self._session, self._progress, verify_first=verifies)
        parameters = convert(self._parameters.commands[number].parameters, type_.parameters)
        try:
            await check_target(self._session, type_, parameters)
            outcome = await type_.perform(cast(MeterSession, member), parameters)
        except StepFailed as failure:
            end = self._end_of(number, failure, member)
        else:
            if outcome.kind is OutcomeKind.CHECKPOINT:
                self._progress.member, self._progress.failures = outcome.progress, 0
                return True
            if outcome.error is not None:
                failed = StepFailed(outcome.error, outcome.detail or "", outcome.result, outcome.progress)
                end = self._end_of(number, failed, member)
            else:
                end = Ended(how=outcome.how, result=outcome.result)
        self._progress.ended.append(self._bounded(end))
        self._progress.member, self._progress.failures = None, 0
        is_last = len(self._progress.ended) == len(self._types) and end.error is None
        if not is_last and (self._session.has_changed or verifies or member.settled):
            await self._session.settle(self._kept())
        if verifies:
            self._verifies = False
        return False

    def _end_of(self, number: int, failure: StepFailed, member: Member) -> Ended:
        """What a failure that does not pass means for the member; any other is raised, with what is to be kept."""
        changed = self._session.has_changed
        unseen = member.verify_first and not changed and failure.error not in FOUND_BY_READING
        permanent = failure.error.error_class is ErrorClass.PERMANENT
        if permanent and failure.error not in _FATAL and not unseen:
            return Ended(error=failure.error, detail=failure.detail, result=failure.result)
        passes = isinstance(failure, MeterRefused) or failure.error is ErrorWord.CLOCK_UNCERTAIN
        self._progress.failures += 1
        if self._parameters.on_failure == "continue" and passes and self._progress.failures >= MAX_TRIES:
            return Ended(error=failure.error, detail=failure.detail, result=failure.result)
        if failure.progress is not None:
            self._progress.member = failure.progress
        detail = self._named(number, failure.detail)
        raise StepFailed(failure.error, detail, self._shown(failure), self._kept()) from failure

    def _bounded(self, end: Ended) -> Ended:
        """Without a result for which there is no room any more: it would keep all the others from being kept."""
        octets = sum(len(msgspec.json.encode(each.result)) for each in (*self._progress.ended, end))
        if octets <= MAX_RESULT_OCTETS:
            return end
        detail = f"the results of the bundle have more than {MAX_RESULT_OCTETS} octets of JSON"
        if end.error is not None:
            return msgspec.structs.replace(end, result=None)
        return Ended(error=ErrorWord.RESULT_TOO_LARGE, detail=detail)

    def _kept(self) -> Any:
        return msgspec.to_builtins(self._progress)

    def _named(self, number: int, detail: str) -> str:
        return f"commands[{number}] {self._types[number].name}: {detail}"

    def _shown(self, failure: StepFailed | None = None) -> dict[str, Any]:
        """A line for each member; `failure` is of the one under way."""
        lines = []
        for number, type_ in enumerate(self._types):
            ended = self._progress.ended[number] if number < len(self._progress.ended) else None
            if ended is None and failure is not None and number == len(self._progress.ended):
                ended = Ended(error=failure.error, detail=failure.detail, result=failure.result)
            lines.append(_line(type_.name, ended))
        return {"commands": lines}


def _line(name: str, ended: Ended | None) -> dict[str, Any]:
    if ended is None:
        return {"command": name, "outcome": "NOT_RUN"}
    if ended.error is None:
        return {"command": name, "outcome": ended.how, "result": ended.result}
    line = {"command": name, "outcome": "FAILED", "error": ended.error, "errorDetail": ended.detail}
    return line if ended.result is None else line | {"result": ended.result}


def _success(how: How) -> Outcome:
    return {
        How.DONE: Outcome.done,
        How.ALREADY_SO: Outcome.already_so,
        How.ARMED: Outcome.armed,
        How.SCHEDULED: Outcome.scheduled,
    }[how]()


def bundle_of(commands: Mapping[str, CommandType]) -> CommandType:
    """The command type of bundles of `commands`, as they are when one is asked for."""

    def members(parameters: Bundle) -> list[CommandType]:
        found = []
        for number, each in enumerate(parameters.commands):
            type_ = commands.get(each.command)
            path = f"{ROOT}.commands[{number}].command"
            if type_ is None:
                raise InvalidField(path, each.command, f"unknown; known: {', '.join(sorted(joinable(commands)))}")
            if type_.members is not None:
                raise InvalidField(path, each.command, "a bundle holds no bundle")
            if not _may_be_joined(type_):
                raise InvalidField(path, each.command, "it needs sessions of its own, and is submitted alone")
            found.append(type_)
        return found

    def check(parameters: Bundle, now: datetime) -> None:
        types = members(parameters)
        for number, (type_, each) in enumerate(zip(types, parameters.commands, strict=True)):
            try:
                parse_parameters(type_, each.parameters, now)
            except InvalidField as error:
                raise _below(error, f"{ROOT}.commands[{number}].parameters") from None
        try:
            joined(traits, [each.traits for each in types])
        except ValueError:
            groups = ", ".join(f"{each.name} {each.traits.conflict_group}" for each in types)
            reason = f"one conflict group at most, for one order on each meter must hold; here are {groups}"
            require(False, "commands", [each.name for each in types], reason)

    def follow_up(parameters: Bundle) -> FollowUp | None:
        for type_, each in zip(reversed(members(parameters)), reversed(parameters.commands), strict=True):
            found = type_.follow_up_of(convert(each.parameters, type_.parameters))
            if found is not None:
                return found
        return None

    async def perform(session: MeterSession, parameters: Bundle) -> Outcome:
        return await Run(session, parameters, members(parameters)).perform()

    traits = CommandTraits(
        name=NAME, resend=Resend.SAFE, expires_after=timedelta(days=1), may_be_joined=False
    )  # what stands here is less strict than any member
    return CommandType(
        traits=traits,
        parameters=Bundle,
        perform=perform,
        check=check,
        members=members,
        follow_up=follow_up,
        summary="Runs several commands in one association with each meter, with a result of each.",
    )


def joinable(commands: Mapping[str, CommandType]) -> list[str]:
    return [name for name, each in commands.items() if each.members is None and _may_be_joined(each)]


def _may_be_joined(type_: CommandType) -> bool:
    """An image is uploaded in sessions of its own, with room for other commands between them; new keys are proved by
    associations of their own, and are no part of parameters that errors repeat."""
    return type_.traits.may_be_joined and type_.image_of is None and not type_.hides_values


def _below(error: InvalidField, path: str) -> InvalidField:
    """The same of a field of a member's parameters."""
    at = path + error.path.removeprefix(ROOT)
    moved = InvalidField.secret(at, "")
    moved.received = error.received
    moved.detail = error.detail.replace(error.path, at, 1)
    moved.args = (moved.detail,)
    return moved
