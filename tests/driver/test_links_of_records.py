"""Which link and pace a record and its meter's profile ask for."""

import pytest

from metercast.dlms.hdlc_link import HdlcLink
from metercast.dlms.link import WrapperLink
from metercast.dlms.settings import AssociationSettings
from metercast.domain.meter import Connection, Framing, Hdlc
from metercast.driver.links import link_to
from metercast.profiles.model import Delays

SETTINGS = AssociationSettings(client_sap=16, server_sap=1)


def delays(between_frames: float) -> Delays:
    return Delays(between_frames=between_frames, between_associations=0, after_activation=0, between_looks=2, looks=5)


@pytest.mark.parametrize(("record", "profile", "delay"), [(0.0, 0.5, 0.5), (0.7, 0.5, 0.7), (0.2, 0.5, 0.5), (0, 0, 0)])
def test_of_two_delays_before_a_frame_the_longer_holds(record: float, profile: float, delay: float) -> None:
    connection = Connection(host="h", framing=Framing.HDLC, hdlc=Hdlc(frame_delay_seconds=record))
    link, pace = link_to(connection, SETTINGS, delays(profile))
    assert isinstance(link, HdlcLink)
    assert pace is not None
    assert pace.delay == delay


def test_the_wrapper_has_no_pace() -> None:
    link, pace = link_to(Connection(host="h"), SETTINGS, delays(0.5))
    assert isinstance(link, WrapperLink)
    assert pace is None
