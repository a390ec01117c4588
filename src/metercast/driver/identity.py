"""Whether the meter is the one that its record names: after association, before anything is changed."""

from metercast.commands.contract import StepFailed
from metercast.dlms.cosem import CosemAttribute
from metercast.dlms.data import Data, Tag
from metercast.dlms.errors import DecodeError
from metercast.domain.words import ErrorWord, SecurityEvent
from metercast.driver.contact import MeterContact


async def check_identity(session: MeterContact) -> None:
    """StepFailed(IdentityMismatch) where what the record names is not what the meter tells."""
    identity, objects = session.meter.record.identity, session.profile.objects
    if identity.server_system_title is not None:
        title = session.proved_system_title
        if title is None:
            title = await _read(session, CosemAttribute(64, objects.security_setup, 5))
        expected = identity.server_system_title.upper()
        if title.hex().upper() != expected:
            session.alarm(SecurityEvent.IMPOSTOR)
            raise _mismatch("server system title", title.hex().upper(), expected)
    if identity.logical_device_name is not None:
        name = await _read(session, CosemAttribute(1, objects.logical_device_name, 2))
        if name.rstrip(b"\0 ") != identity.logical_device_name.encode().rstrip(b" "):
            session.alarm(SecurityEvent.IMPOSTOR)
            raise _mismatch("logical device name", _text(name), repr(identity.logical_device_name))


async def _read(session: MeterContact, attribute: CosemAttribute) -> bytes:
    return _octets(await session.get(attribute), attribute)


def _octets(data: Data, attribute: CosemAttribute) -> bytes:
    try:
        if data.tag is Tag.VISIBLE_STRING:
            return bytes(data.value.encode("latin-1"))
        if data.tag is Tag.UTF8_STRING:
            return data.value if isinstance(data.value, bytes) else bytes(data.value.encode())
        return data.octet_string()
    except DecodeError as error:
        raise StepFailed(ErrorWord.INVALID_RESPONSE, f"GET {attribute}: {error}") from error


def _mismatch(what: str, found: str, expected: str) -> StepFailed:
    return StepFailed(ErrorWord.IDENTITY_MISMATCH, f"the meter's {what} is {found}, not {expected}")


def _text(octets: bytes) -> str:
    """At most 64 octets, as text where they are."""
    shown = octets[:64]
    return repr(shown.decode("ascii")) if shown.isascii() else f"hex:{shown.hex()}"
