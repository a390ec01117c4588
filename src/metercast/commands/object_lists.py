"""What objects meters of a model have, as READ_ASSOCIATION found: other commands learn from it what a meter lacks.

A list is of one model and one firmware, as far as records and meters tell; another meter may differ all the same. So a
list never decides alone: where it lacks what a command is for, the meter is asked for that object's name first, which
changes nothing, and only its own answer ends the command.
"""

from collections import OrderedDict
from collections.abc import Collection, Hashable
from typing import Any, Final, NamedTuple

from metercast.commands.contract import CommandType, MeterRefused, MeterSession, StepFailed
from metercast.dlms.cosem import CosemAttribute
from metercast.dlms.logical_name import LogicalName
from metercast.domain.words import ErrorWord

CAPACITY: Final = 256  # lists; one of 500 objects takes some 60 KB
_NAME: Final = 1  # attribute 1 of every class
_NOT_THERE: Final = frozenset({ErrorWord.OBJECT_UNDEFINED})


class Target(NamedTuple):
    """The object that a command is for."""

    class_id: int
    logical_name: LogicalName

    def __str__(self) -> str:
        return f"class {self.class_id} {self.logical_name}"


class ObjectLists:
    """By model and firmware; the list that was least recently of use goes first. Of this process, and gone with it."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._lists: OrderedDict[tuple[Hashable, str], set[Target]] = OrderedDict()

    def put(self, model: Hashable, firmware: str, objects: Collection[Target]) -> None:
        """In place of what was known of that firmware."""
        self._lists[model, firmware] = set(objects)
        self._lists.move_to_end((model, firmware))
        if len(self._lists) > self._capacity:
            self._lists.popitem(last=False)

    def lacking(self, model: Hashable, target: Target) -> str | None:
        """A firmware of the model whose list lacks the object, or None."""
        for key, objects in self._lists.items():
            if key[0] == model and target not in objects:
                self._lists.move_to_end(key)
                return key[1]
        return None

    def has(self, model: Hashable, target: Target) -> bool:
        """Whether there are lists of the model, and each has the object."""
        lists = [objects for key, objects in self._lists.items() if key[0] == model]
        return bool(lists) and all(target in objects for objects in lists)

    def found(self, model: Hashable, target: Target) -> None:
        """A meter of the model has it after all: no list of the model speaks against it any more."""
        for key, objects in self._lists.items():
            if key[0] == model:
                objects.add(target)


async def check_target(session: MeterSession, command: CommandType, parameters: Any) -> None:
    """StepFailed(ObjectUndefined), before anything is sent that changes the meter, where it lacks the object that the
    command is for: a list of its model says so, and then the meter itself."""
    if command.target is None or session.model is None:
        return
    target = Target(*command.target(parameters, session.profile))
    firmware = session.object_lists.lacking(session.model, target)
    if firmware is None:
        return
    try:
        await session.get(CosemAttribute(target.class_id, target.logical_name, _NAME))
    except MeterRefused as refused:
        if refused.error not in _NOT_THERE:
            return  # it is there, and its name is not for us
        detail = f"{target} is not in the object list of this model (firmware {firmware}), and {refused.detail}"
        raise StepFailed(ErrorWord.OBJECT_UNDEFINED, f"{command.name}: {detail}") from refused
    session.object_lists.found(session.model, target)
