"""Class 1, data: identities and counters (catalogue 1.5)."""

from collections.abc import Iterator

from metercast.dlms.data import Data
from metercast.simulator.objects.base import Attribute, CosemObject, Reader, name
from metercast.simulator.objects.scripts import ACTIVE_TARIFF

LOGICAL_DEVICE_NAME = name("0.0.42.0.0.255")
INVOCATION_COUNTER = name("0.0.43.1.0.255")
SERIAL_NUMBER = name("0.0.96.1.0.255")
BILLING_COUNTER = name("0.0.0.1.0.255")
FIRMWARE_ID = name("1.0.0.2.0.255")


def data_objects() -> Iterator[CosemObject]:
    readers: dict[bytes, Reader] = {
        LOGICAL_DEVICE_NAME: lambda state, caller: Data.octets(caller.logical_device_name),
        INVOCATION_COUNTER: lambda state, caller: Data.double_long_unsigned(caller.client_counter),
        SERIAL_NUMBER: lambda state, caller: Data.octets(state.spec.serial.encode("ascii")),
        BILLING_COUNTER: lambda state, caller: Data.double_long_unsigned(state.billing_counter),
        FIRMWARE_ID: lambda state, caller: Data.octets(state.firmware.version.encode("ascii", "replace")),
        ACTIVE_TARIFF: lambda state, caller: Data.unsigned(state.tariff),
    }
    for logical_name, read in readers.items():
        yield CosemObject(1, 0, type(LOGICAL_DEVICE_NAME)(logical_name), {2: Attribute(read)})
