"""Which link a meter's record asks for, and at what pace it is used."""

from typing import NamedTuple

from metercast.dlms.hdlc import HdlcAddress
from metercast.dlms.hdlc_link import HdlcLink
from metercast.dlms.hdlc_parameters import HdlcParameters
from metercast.dlms.link import Link, WrapperLink
from metercast.dlms.settings import AssociationSettings
from metercast.domain.meter import Connection, Framing, Hdlc
from metercast.profiles.model import Delays


class Pace(NamedTuple):
    """Seconds: of silence before the link asks again, before each sending, and after the octets that wake the line."""

    poll_after: float
    delay: float
    wake_up: bytes = b""
    wake_up_delay: float = 0.0


def link_to(connection: Connection, settings: AssociationSettings, delays: Delays) -> tuple[Link, Pace | None]:
    """Raises EncodeError where an address does not fit."""
    if connection.framing is Framing.WRAPPER:
        return WrapperLink(settings.client_sap, settings.server_sap), None
    hdlc = connection.hdlc or Hdlc()
    server = HdlcAddress(settings.server_sap, hdlc.physical_device, hdlc.address_size)
    parameters = HdlcParameters(hdlc.transmit_size, hdlc.receive_size, hdlc.transmit_window, hdlc.receive_window)
    delay = max(hdlc.frame_delay_seconds, delays.between_frames)
    wake_up = bytes.fromhex(hdlc.wake_up_octets or "")
    pace = Pace(hdlc.poll_after_seconds, delay, wake_up, hdlc.wake_up_seconds)
    return HdlcLink(settings.client_sap, server, parameters), pace
