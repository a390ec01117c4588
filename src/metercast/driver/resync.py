"""An invocation counter behind the meter's own: read through the public client where it stands (catalogue 2.7)."""

from metercast.commands.contract import StepFailed
from metercast.dlms.cosem import CosemAttribute
from metercast.dlms.errors import DecodeError
from metercast.domain.words import ErrorWord
from metercast.driver.contact import MeterContact
from metercast.driver.conversation import ExceptionAnswer
from metercast.driver.credentials import counter_settings

MAX_VALUE = 0xFFFFFFFF


async def resynchronise(session: MeterContact, failure: StepFailed) -> bool:
    """Moves our counter behind the meter's; False where the counter was not what `failure` came from.

    What the meter tells is a hint without authentication: it never lowers the counter, and StepFailed
    (InvocationCounterError) refuses a jump above the limit.
    """
    try:
        last_accepted = await _read_counter(session)
    except StepFailed as error:
        told = _told(failure)
        if told is None:
            return _give_up(failure, error)
        last_accepted = told
    return await session.catch_up(last_accepted)


async def _read_counter(session: MeterContact) -> int:
    counter = _counter_of(session)
    data = await session.read_as_public(counter_settings(session.meter, session.profile), counter)
    try:
        value = data.number()
    except DecodeError as error:
        raise StepFailed(ErrorWord.INVALID_RESPONSE, f"GET {counter}: {error}") from error
    if not 0 <= value <= MAX_VALUE:
        raise StepFailed(ErrorWord.INVALID_RESPONSE, f"GET {counter}: {value} is no counter")
    return value


def _counter_of(session: MeterContact) -> CosemAttribute:
    """The object that tells the counter of the client that we are (catalogue 2.7)."""
    record, profile = session.meter.record, session.profile
    name = record.management_name
    sap = record.management.client_sap or profile.client_sap(name)
    return CosemAttribute(1, profile.invocation_counter(name, sap), 2)


def _told(failure: StepFailed) -> int | None:
    """The last counter accepted, from an exception-response that tells the one expected next."""
    if isinstance(failure, ExceptionAnswer) and failure.response.invocation_counter:
        return failure.response.invocation_counter - 1
    return None


def _give_up(failure: StepFailed, error: StepFailed) -> bool:
    failure.detail = f"{failure.detail}; the counter could not be read: {error.detail}"
    return False
