"""Script tables (class 9): what stands behind the script numbers of a calendar (catalogue 1.3)."""

from typing import Any, Final

from metercast.commands.meter.typed_data import to_json
from metercast.dlms.data import Data
from metercast.dlms.logical_name import LogicalName

CLASS_ID: Final = 9
SCRIPTS: Final = 2
_SERVICES: Final = {1: "write", 2: "execute"}


def scripts_json(data: Data) -> list[dict[str, Any]]:
    """Each script with its actions, in the meter's order; DecodeError where it is no table of scripts."""
    rows = [element.elements(2) for element in data.elements()]
    return [
        {"script": number.number(), "actions": [_action(each) for each in actions.elements()]}
        for number, actions in rows
    ]


def _action(data: Data) -> dict[str, Any]:
    """`index` is an attribute's where the service is write, a method's where it is execute."""
    service, class_id, name, index, parameter = data.elements(5)
    code = service.number()
    return {
        "service": _SERVICES.get(code, f"service {code}"),
        "class": class_id.number(),
        "obis": str(LogicalName(name.octet_string(6))),
        "index": index.number(),
        "parameter": to_json(parameter),
    }
