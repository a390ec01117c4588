"""What a COSEM object of a simulated meter is: attributes to read and write, methods to invoke.

Objects hold no state: one model serves every meter, each call is given the meter's state and its caller.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from metercast.dlms.cosem import Selection
from metercast.dlms.data import Data
from metercast.dlms.logical_name import LogicalName
from metercast.dlms.results import DataAccessResult
from metercast.simulator.state import MeterState


class Refusal(Exception):
    """The service ends with this data-access-result, or the action-result of the same number."""

    def __init__(self, result: int) -> None:
        super().__init__(DataAccessResult(result).name)
        self.result = result


class Caller(Protocol):
    """The association through which an object is looked at."""

    @property
    def client_sap(self) -> int: ...

    @property
    def conformance(self) -> int:
        """The negotiated one."""

    @property
    def max_answer(self) -> int:
        """The largest APDU that the client takes, in octets; 0 is no limit."""

    @property
    def mechanism(self) -> int: ...

    @property
    def ciphered(self) -> bool:
        """The application context is the one with ciphering."""

    @property
    def client_counter(self) -> int:
        """The last invocation counter that the meter accepted from the management client."""

    @property
    def client_system_title(self) -> bytes: ...

    @property
    def server_system_title(self) -> bytes: ...

    @property
    def logical_device_name(self) -> bytes: ...

    @property
    def object_list(self) -> Data: ...


Reader = Callable[[MeterState, Caller], Data]
Selector = Callable[[MeterState, Caller, Selection], Data]
Writer = Callable[[MeterState, Data], None]
Invoker = Callable[[MeterState, Data], Data | None]


class Attribute(NamedTuple):
    """None where the attribute is not to be read, or written, or has no selective access. They may raise Refusal."""

    read: Reader | None = None
    write: Writer | None = None
    select: Selector | None = None

    @property
    def access_mode(self) -> int:
        """0 none, 1 read, 2 write, 3 both."""
        return (1 if self.read else 0) | (2 if self.write else 0)


class CosemObject(NamedTuple):
    """Attribute 1, the logical name, is not in `attributes`."""

    class_id: int
    version: int
    logical_name: LogicalName
    attributes: Mapping[int, Attribute]
    methods: Mapping[int, Invoker] = {}


def constant(value: Data) -> Attribute:
    return Attribute(read=lambda state, caller: value)


def name(text: str) -> LogicalName:
    return LogicalName.parse(text)
