"""What the steps of several commands share: decoding an answer, and waiting for a meter to become as wanted."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from metercast.commands.contract import MeterRefused, MeterSession, StepFailed
from metercast.dlms.cosem import CosemAttribute
from metercast.dlms.data import Data
from metercast.dlms.errors import DlmsError
from metercast.domain.words import ErrorClass, ErrorWord

T = TypeVar("T")


async def read(session: MeterSession, attribute: CosemAttribute, decode: Callable[[Data], T]) -> T:
    """The attribute's decoded value; StepFailed(InvalidResponse) where it is not what its class says."""
    return decoded(await session.get(attribute), decode, attribute)


async def read_all(session: MeterSession, attributes: Sequence[CosemAttribute]) -> list[Data]:
    """The values of all the attributes; MeterRefused where one of them is refused."""
    return [given(result) for result in await session.get_list(attributes)]


def given(result: Data | MeterRefused) -> Data:
    """One value of a list; MeterRefused where it was refused."""
    if isinstance(result, MeterRefused):
        raise result
    return result


async def read_indexed(
    session: MeterSession, attribute_of: Callable[[int], CosemAttribute], indexes: Iterable[int]
) -> dict[int, Data]:
    """The values of several attributes of one object, by their indexes; MeterRefused where one is refused."""
    wanted = list(indexes)
    return dict(zip(wanted, await read_all(session, [attribute_of(index) for index in wanted]), strict=True))


def decoded(data: Data, decode: Callable[[Data], T], what: CosemAttribute) -> T:
    """`decode(data)`; StepFailed(InvalidResponse) naming `what` where that fails."""
    try:
        return decode(data)
    except (DlmsError, ValueError, OverflowError) as error:
        raise StepFailed(ErrorWord.INVALID_RESPONSE, f"GET {what}: {error}") from error


async def poll(session: MeterSession, look: Callable[[], Awaitable[T]], is_reached: Callable[[T], bool]) -> T:
    """Looks as often as the profile says, and with its pauses, until it `is_reached`; returns what was seen last.

    A refusal that may pass (temporary-failure while the meter switches) is looked at again; the last one is raised.
    """
    delays = session.profile.delays
    for left in range(delays.looks - 1, -1, -1):
        try:
            seen = await look()
        except MeterRefused as refused:
            if left == 0 or refused.error.error_class is ErrorClass.PERMANENT:
                raise
        else:
            if left == 0 or is_reached(seen):
                return seen
        await session.sleep(delays.between_looks)
    raise AssertionError("the last look returns or raises")


def worst(errors: list[ErrorWord]) -> ErrorWord:
    """The word that decides for all: a permanent one before any other, else the first."""
    return next((word for word in errors if word.error_class is ErrorClass.PERMANENT), errors[0])
