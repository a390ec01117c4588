"""Class 17, SAP assignment: the logical devices at this address (catalogue 1.14)."""

from metercast.dlms.data import Data
from metercast.simulator.objects.base import Attribute, Caller, CosemObject, name
from metercast.simulator.state import MeterState

SAP_ASSIGNMENT = name("0.0.41.0.0.255")


def _logical_devices(state: MeterState, caller: Caller) -> Data:
    own = Data.structure([Data.long_unsigned(state.spec.server_sap), Data.octets(caller.logical_device_name)])
    return Data.array([own])


def sap_assignment() -> CosemObject:
    return CosemObject(17, 0, SAP_ASSIGNMENT, {2: Attribute(_logical_devices)})
