"""Class 40, push setup, in its versions 0 to 2: what is pushed is sent by the meter's pusher (catalogue 1.11)."""

from metercast.dlms.cosem import CosemAttribute
from metercast.dlms.data import Data, Tag
from metercast.dlms.datetimes import CosemDateTime
from metercast.dlms.errors import DecodeError
from metercast.dlms.logical_name import LogicalName
from metercast.dlms.results import DataAccessResult
from metercast.simulator.objects.base import Attribute, CosemObject, Invoker, Refusal, constant
from metercast.simulator.push_setup import PUSH_SETUPS
from metercast.simulator.shape import ArrayOf, OctetsOf, Shape, StructureOf, matches
from metercast.simulator.state import MeterState

_OBJECTS = 2
_CAPTURED: tuple[Shape, ...] = (Tag.LONG_UNSIGNED, OctetsOf(6), Tag.INTEGER, Tag.LONG_UNSIGNED)
_RESTRICTIONS: tuple[Shape, ...] = (
    StructureOf((Tag.ENUM, Tag.NULL_DATA)),
    StructureOf((Tag.ENUM, StructureOf((OctetsOf(12), OctetsOf(12))))),
    StructureOf((Tag.ENUM, StructureOf((Tag.DOUBLE_LONG_UNSIGNED, Tag.DOUBLE_LONG_UNSIGNED)))),
)
_ELEMENTS: tuple[tuple[Shape, ...], ...] = (
    (StructureOf(_CAPTURED),),
    tuple(StructureOf((*_CAPTURED, each)) for each in _RESTRICTIONS),
    tuple(StructureOf((*_CAPTURED, each, ArrayOf(StructureOf(_CAPTURED)))) for each in _RESTRICTIONS),
)
_SHAPES: dict[int, Shape] = {
    3: StructureOf((Tag.ENUM, Tag.OCTET_STRING, Tag.ENUM)),
    4: ArrayOf(StructureOf((OctetsOf(12), OctetsOf(12)))),
    5: Tag.LONG_UNSIGNED,
    6: Tag.UNSIGNED,
    7: Tag.LONG_UNSIGNED,
}
_SHAPES_OF_1: dict[int, Shape] = {8: OctetsOf(6), 9: Tag.INTEGER}
_SHAPES_OF_2: dict[int, Shape] = {
    7: StructureOf((Tag.LONG_UNSIGNED, Tag.LONG_UNSIGNED, Tag.LONG_UNSIGNED)),
    11: Tag.ENUM,
    12: StructureOf((OctetsOf(12), Tag.DOUBLE_LONG_UNSIGNED)),
}


def _attribute(logical_name: LogicalName, index: int, shape: Shape) -> Attribute:
    def write(state: MeterState, value: Data) -> None:
        if not matches(value, shape):
            raise Refusal(DataAccessResult.TYPE_UNMATCHED)
        state.push_setup(logical_name).values[index] = value

    return Attribute(lambda state, caller: state.push_setup(logical_name).values[index], write)


def _objects(logical_name: LogicalName, version: int) -> Attribute:
    def write(state: MeterState, value: Data) -> None:
        if value.tag is not Tag.ARRAY or not all(_is_element(element, version) for element in value.value):
            raise Refusal(DataAccessResult.TYPE_UNMATCHED)
        state.push_setup(logical_name).values[_OBJECTS] = value

    return Attribute(lambda state, caller: state.push_setup(logical_name).values[_OBJECTS], write)


def _is_element(element: Data, version: int) -> bool:
    return any(matches(element, shape) for shape in _ELEMENTS[version])


def _push(logical_name: LogicalName) -> Invoker:
    def push(state: MeterState, parameter: Data) -> None:
        if parameter.tag is not Tag.INTEGER:
            raise Refusal(DataAccessResult.TYPE_UNMATCHED)
        setup = state.push_setup(logical_name)
        try:
            setup.destination()
        except DecodeError:
            raise Refusal(DataAccessResult.OTHER_REASON) from None
        if state.pusher is not None:
            state.pusher.push(setup)

    return push


def _reset(logical_name: LogicalName) -> Invoker:
    def reset(state: MeterState, parameter: Data) -> None:
        if parameter.tag is not Tag.INTEGER:
            raise Refusal(DataAccessResult.TYPE_UNMATCHED)
        if state.pusher is not None:
            state.pusher.reset(state.push_setup(logical_name))

    return reset


def push_setup(version: int) -> CosemObject:
    logical_name = PUSH_SETUPS[version]
    shapes = _SHAPES | (_SHAPES_OF_1 if version >= 1 else {}) | (_SHAPES_OF_2 if version >= 2 else {})
    attributes = {_OBJECTS: _objects(logical_name, version)}
    attributes |= {index: _attribute(logical_name, index, shape) for index, shape in shapes.items()}
    if version >= 1:
        attributes[10] = constant(Data.array([]))
    if version >= 2:
        attributes[13] = constant(Data.octets(CosemDateTime().encode()))
    methods = {1: _push(logical_name)}
    if version >= 2:
        methods[2] = _reset(logical_name)
    return CosemObject(40, version, logical_name, attributes, methods)


def pushed_attribute(element: Data) -> CosemAttribute:
    class_id, logical_name, index = element.value[:3]
    return CosemAttribute(class_id.value, LogicalName(logical_name.value), index.value)
