"""Scalers and units that were read of a meter before: they are static as long as its firmware is (catalogue 1.5).

A wrong one would make a wrong value that nobody sees. So it is known of one meter only, not of its model; the meter
tells in the session at hand that it still runs the firmware; and a change that this process sends forgets it. Meters
whose model has no list of objects in memory, or whose list lacks the object of the firmware, are not asked for it.
"""

from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from typing import Final, NamedTuple

from metercast.commands.contract import MeterRefused, MeterSession
from metercast.commands.object_lists import Target
from metercast.commands.running_firmware import firmware_attribute, firmware_text
from metercast.commands.scaler_unit import ScalerUnit, decode_scaler_unit
from metercast.commands.steps import decoded
from metercast.dlms.cosem import CosemAttribute
from metercast.dlms.data import Data

CAPACITY: Final = 100_000  # scalers of all meters; they take some 30 MB

Scales = Mapping[CosemAttribute, ScalerUnit]


class _Entry(NamedTuple):
    proof: Hashable
    firmware: str
    scales: dict[CosemAttribute, ScalerUnit]


class KnownScales:
    """By device id; what was least recently of use goes first. Of this process, and gone with it."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._count = 0
        self._meters: OrderedDict[str, _Entry] = OrderedDict()

    def __len__(self) -> int:
        return self._count

    def of(self, device_id: str, proof: Hashable, firmware: str) -> Scales:
        """Empty where another meter, client or firmware was met last: then nothing that was known is known any more."""
        entry = self._meters.get(device_id)
        if entry is None:
            return {}
        if (entry.proof, entry.firmware) != (proof, firmware):
            self.forget(device_id)
            return {}
        self._meters.move_to_end(device_id)
        return entry.scales

    def add(self, device_id: str, proof: Hashable, firmware: str, scales: Scales) -> None:
        known = {**self.of(device_id, proof, firmware), **scales}
        self.forget(device_id)
        self._meters[device_id] = _Entry(proof, firmware, known)
        self._count += len(known)
        while self._count > self._capacity:
            self.forget(next(iter(self._meters)))

    def forget(self, device_id: str) -> None:
        entry = self._meters.pop(device_id, None)
        if entry is not None:
            self._count -= len(entry.scales)


def firmware_to_ask(session: MeterSession) -> list[CosemAttribute]:
    """What is to be read beside values so that scalers can be known: one attribute, or none."""
    if session.proof is None or session.model is None:
        return []
    attribute = firmware_attribute(session.profile)
    is_there = session.object_lists.has(session.model, Target(attribute.class_id, attribute.logical_name))
    return [attribute] if is_there else []


async def read_scales(
    session: MeterSession, holders: Sequence[CosemAttribute], firmware: Data | MeterRefused | None
) -> dict[CosemAttribute, ScalerUnit | MeterRefused]:
    """Scaler and unit from each of the holders, or its refusal; only those are read that are not known.

    `firmware` is what the meter told in this session of `firmware_to_ask`, None where that was nothing.
    StepFailed(InvalidResponse) where an answer is no scaler and unit.
    """
    running = firmware_text(firmware) if isinstance(firmware, Data) else None
    device_id, proof = session.meter.device_id, session.proof
    known: Scales = {} if running is None else session.known_scales.of(device_id, proof, running)
    found: dict[CosemAttribute, ScalerUnit | MeterRefused] = {each: known[each] for each in holders if each in known}
    missing = [holder for holder in holders if holder not in found]
    if not missing:
        return found
    told: dict[CosemAttribute, ScalerUnit] = {}
    for holder, value in zip(missing, await session.get_list(missing), strict=True):
        if isinstance(value, MeterRefused):
            found[holder] = value
        else:
            told[holder] = decoded(value, decode_scaler_unit, holder)
    if running is not None and told:
        session.known_scales.add(device_id, proof, running, told)
    return found | told
