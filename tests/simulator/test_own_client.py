"""Our client's services against the simulated meter's, without sockets: lists and blocks both ways, small PDUs."""

from itertools import count

import pytest
from tests.simulator.harness import Bench, spec_of

from metercast.dlms.access_transfer import AccessAction, AccessGet, AccessSet
from metercast.dlms.association import ClientAssociation
from metercast.dlms.cosem import CosemAttribute, CosemMethod
from metercast.dlms.data import Data
from metercast.dlms.events import (
    AccessResult,
    ActionListResult,
    ActionResult,
    Associated,
    Event,
    GetListResult,
    GetResult,
    Send,
    SetListResult,
    SetResult,
)
from metercast.dlms.logical_name import LogicalName
from metercast.dlms.results import ActionResultCode, DataAccessResult
from metercast.dlms.settings import AssociationSettings, Authentication, Protection
from metercast.simulator.spec import ACCESS, DEFAULT_CONFORMANCE, MULTIPLE_REFERENCES, MeterSpec

CALENDAR = LogicalName.parse("0.0.13.0.0.255")
SHIFT = CosemMethod(8, LogicalName.parse("0.0.1.0.0.255"), 6)
LISTS = DEFAULT_CONFORMANCE | MULTIPLE_REFERENCES


def name(index: int) -> CosemAttribute:
    return CosemAttribute(20, CALENDAR, index)


class Pair:
    """A client and a meter; `sizes` are those of all the APDUs after the association, both ways."""

    def __init__(self, spec: MeterSpec, client_pdu: int) -> None:
        self.bench = Bench(spec)
        self.client = ClientAssociation(
            AssociationSettings(
                client_sap=1,
                authentication=Authentication(spec.authentication),
                protection=Protection(spec.protection),
                client_system_title=spec.client_system_title,
                encryption_key=spec.encryption_key,
                authentication_key=spec.authentication_key,
                max_receive_pdu_size=client_pdu,
            ),
            count(1),
            b"client-challenge",
        )
        self.sizes: tuple[list[int], list[int]] = ([], [])
        assert isinstance(self.ask(self.client.associate()), Associated)
        self.sizes = ([], [])

    def ask(self, apdu: bytes) -> Event:
        while True:
            answer = bytes.fromhex(self.bench.ask(apdu))
            self.sizes[0].append(len(apdu))
            self.sizes[1].append(len(answer))
            event = self.client.receive(answer)
            if not isinstance(event, Send):
                return event
            apdu = event.apdu


@pytest.mark.parametrize("security", ["none", "hls-gmac"])
def test_access_reads_writes_and_invokes(security: str) -> None:
    pair = Pair(spec_of(security=security, conformance=DEFAULT_CONFORMANCE | ACCESS), 1024)
    name_of = Data.octets(b"NEW")
    missing = CosemAttribute(3, LogicalName.parse("1.0.77.8.0.255"), 2)
    event = pair.ask(
        pair.client.access(
            [AccessSet(name(6), name_of), AccessGet(name(6)), AccessGet(missing), AccessAction(SHIFT, Data.long(0))]
        )
    )
    assert isinstance(event, AccessResult)
    assert event.results == [
        SetResult(),
        GetResult(name_of),
        GetResult(None, DataAccessResult.OBJECT_UNDEFINED),
        ActionResult(ActionResultCode.SUCCESS),
    ]
    broken = pair.ask(
        pair.client.access([AccessGet(missing), AccessSet(name(6), Data.octets(b"OTHER"))], break_on_error=True)
    )
    assert isinstance(broken, AccessResult)
    assert broken.results == [
        GetResult(None, DataAccessResult.OBJECT_UNDEFINED),
        SetResult(DataAccessResult.OTHER_REASON),
    ]
    assert pair.ask(pair.client.get(name(6))) == GetResult(name_of)


@pytest.mark.parametrize("security", ["none", "hls-gmac"])
@pytest.mark.parametrize("size", [80, 128, 1024])
def test_lists_both_ways_in_blocks(security: str, size: int) -> None:
    pair = Pair(spec_of(security=security, conformance=LISTS, max_pdu=size), size)
    weeks = [Data.structure([Data.octets(week), *[Data.unsigned(1)] * 7]) for week in (b"1", b"2")]
    values = [Data.octets(b"A LONG NAME OF A CALENDAR"), Data.array(weeks)]
    written = pair.ask(pair.client.set_list([(name(6), values[0]), (name(8), values[1])]))
    assert written == SetListResult([SetResult(), SetResult()])
    read = pair.ask(pair.client.get_list([(name(6), None), (name(8), None)]))
    assert read == GetListResult([GetResult(values[0]), GetResult(values[1])])
    ran = pair.ask(pair.client.action_list([(SHIFT, Data.long(0)) for _ in range(5)]))
    assert ran == ActionListResult([ActionResult(ActionResultCode.SUCCESS)] * 5)
    assert max(pair.sizes[0]) <= size
    assert max(pair.sizes[1]) <= size
    assert len(pair.sizes[0]) > 3 if size == 80 else len(pair.sizes[0]) >= 3
