"""Class 11, special days table: replaced as a whole, or entry by entry (catalogue 1.2)."""

from metercast.dlms.data import Data, Tag
from metercast.dlms.results import DataAccessResult
from metercast.simulator.objects.base import Attribute, CosemObject, Refusal, name
from metercast.simulator.shape import ArrayOf, OctetsOf, StructureOf, matches
from metercast.simulator.state import MeterState

SPECIAL_DAYS = name("0.0.11.0.0.255")
MAX_ENTRIES = 100
_ENTRY = StructureOf((Tag.LONG_UNSIGNED, OctetsOf(5), Tag.UNSIGNED))


def _replace(state: MeterState, value: Data) -> None:
    if not matches(value, ArrayOf(_ENTRY)):
        raise Refusal(DataAccessResult.TYPE_UNMATCHED)
    indexes = [entry.value[0].value for entry in value.value]
    if len(set(indexes)) < len(indexes) or len(indexes) > MAX_ENTRIES:
        raise Refusal(DataAccessResult.OTHER_REASON)
    state.special_days = list(value.value)


def _insert(state: MeterState, entry: Data) -> None:
    """What has the same index or the same date goes."""
    if not matches(entry, _ENTRY):
        raise Refusal(DataAccessResult.TYPE_UNMATCHED)
    index, date, _ = entry.value
    left = [each for each in state.special_days if each.value[0] != index and each.value[1] != date]
    if len(left) >= MAX_ENTRIES:
        raise Refusal(DataAccessResult.OTHER_REASON)
    state.special_days = sorted([*left, entry], key=lambda each: int(each.value[0].value))


def _delete(state: MeterState, index: Data) -> None:
    if index.tag is not Tag.LONG_UNSIGNED:
        raise Refusal(DataAccessResult.TYPE_UNMATCHED)
    left = [each for each in state.special_days if each.value[0].value != index.value]
    if len(left) == len(state.special_days):
        raise Refusal(DataAccessResult.OTHER_REASON)
    state.special_days = left


def special_days() -> CosemObject:
    entries = Attribute(lambda state, caller: Data.array(state.special_days), _replace)
    return CosemObject(11, 0, SPECIAL_DAYS, {2: entries}, {1: _insert, 2: _delete})
