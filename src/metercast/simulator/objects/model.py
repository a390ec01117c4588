"""The object model that every simulated meter has, and what each client may do with it."""

from collections.abc import Iterable, Mapping
from functools import cache

from metercast.dlms.data import NULL, Data
from metercast.dlms.logical_name import LogicalName
from metercast.dlms.results import DataAccessResult
from metercast.simulator.objects.base import Attribute, CosemObject, Invoker, Refusal, constant
from metercast.simulator.objects.calendar import activity_calendar
from metercast.simulator.objects.clock import CLOCK, clock
from metercast.simulator.objects.data import INVOCATION_COUNTER, LOGICAL_DEVICE_NAME, data_objects
from metercast.simulator.objects.image_transfer import image_activation, image_transfer
from metercast.simulator.objects.limiter import limiter
from metercast.simulator.objects.profiles import event_logs, load_profile
from metercast.simulator.objects.push import push_setup
from metercast.simulator.objects.registers import registers
from metercast.simulator.objects.relay import disconnect_control
from metercast.simulator.objects.sap_assignment import SAP_ASSIGNMENT, sap_assignment
from metercast.simulator.objects.scripts import mdi_reset, tariff_scripts
from metercast.simulator.objects.security import CURRENT_ASSOCIATION, current_association, security_setup
from metercast.simulator.objects.special_days import special_days
from metercast.simulator.spec import PUBLIC_CLIENT

LOGICAL_NAME_ATTRIBUTE = 1
_READ_ONLY = 1

# What the public client may read, by attribute; it may write and invoke nothing.
PUBLIC_ATTRIBUTES: Mapping[LogicalName, tuple[int, ...]] = {
    LOGICAL_DEVICE_NAME: (1, 2),
    CLOCK: (1, 2),
    INVOCATION_COUNTER: (1, 2),
    CURRENT_ASSOCIATION: (1, 2),
    SAP_ASSIGNMENT: (1, 2),
}


class ObjectModel:
    """Finds objects. The logical name decides; the class must then be the object's."""

    def __init__(self, objects: Iterable[CosemObject]) -> None:
        self._objects = {found.logical_name: found for found in objects}
        self._own_names = {name: constant(Data.octets(name)) for name in self._objects}

    def attribute(self, client_sap: int, class_id: int, logical_name: LogicalName, index: int) -> Attribute:
        """Raises Refusal: object-undefined, object-class-inconsistent, or read-write-denied without any right."""
        found = self._object(class_id, logical_name)
        own_name = index == LOGICAL_NAME_ATTRIBUTE
        attribute = self._own_names[found.logical_name] if own_name else found.attributes.get(index)
        if attribute is None:
            raise Refusal(DataAccessResult.OBJECT_UNDEFINED)
        if client_sap == PUBLIC_CLIENT:
            if index not in PUBLIC_ATTRIBUTES.get(logical_name, ()):
                raise Refusal(DataAccessResult.READ_WRITE_DENIED)
            return Attribute(read=attribute.read)
        return attribute

    def method(self, client_sap: int, class_id: int, logical_name: LogicalName, index: int) -> Invoker:
        """Raises Refusal as `attribute` does."""
        invoker = self._object(class_id, logical_name).methods.get(index)
        if invoker is None:
            raise Refusal(DataAccessResult.OBJECT_UNDEFINED)
        if client_sap == PUBLIC_CLIENT:
            raise Refusal(DataAccessResult.READ_WRITE_DENIED)
        return invoker

    def object_list(self, client_sap: int) -> Data:
        """Attribute 2 of the association: what that client sees, with its rights (catalogue 1.14, version 1)."""
        public = client_sap == PUBLIC_CLIENT
        visible = (found for found in self._objects.values() if not public or found.logical_name in PUBLIC_ATTRIBUTES)
        return Data.array([_entry(found, public) for found in visible])

    def _object(self, class_id: int, logical_name: LogicalName) -> CosemObject:
        found = self._objects.get(logical_name)
        if found is None:
            raise Refusal(DataAccessResult.OBJECT_UNDEFINED)
        if found.class_id != class_id:
            raise Refusal(DataAccessResult.OBJECT_CLASS_INCONSISTENT)
        return found


def _entry(found: CosemObject, public: bool) -> Data:
    modes = {LOGICAL_NAME_ATTRIBUTE: _READ_ONLY}
    modes |= {index: attribute.access_mode for index, attribute in found.attributes.items()}
    if public:
        modes = dict.fromkeys(PUBLIC_ATTRIBUTES[found.logical_name], _READ_ONLY)
    attributes = [Data.structure([Data.integer(index), Data.enum(mode), NULL]) for index, mode in sorted(modes.items())]
    methods = [Data.structure([Data.integer(index), Data.enum(0 if public else 1)]) for index in sorted(found.methods)]
    return Data.structure(
        [
            Data.long_unsigned(found.class_id),
            Data.unsigned(found.version),
            Data.octets(found.logical_name),
            Data.structure([Data.array(attributes), Data.array(methods)]),
        ]
    )


@cache
def standard_model(security_version: int = 0) -> ObjectModel:
    """One for all meters: objects hold no state."""
    return ObjectModel(
        [
            current_association(),
            *data_objects(),
            clock(),
            activity_calendar(),
            special_days(),
            limiter(),
            load_profile(),
            *event_logs(),
            disconnect_control(),
            mdi_reset(),
            tariff_scripts(),
            image_transfer(),
            *image_activation(),
            security_setup(security_version),
            sap_assignment(),
            *(push_setup(version) for version in range(3)),
            *registers(),
        ]
    )


@cache
def standard_object_list(client_sap: int, security_version: int = 0) -> Data:
    return standard_model(security_version).object_list(client_sap)
