"""The parsers that there are, found by what they are called and take: a new one is found without being named here."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NamedTuple, get_type_hints

import metercast.commands
import metercast.dlms
from metercast.dlms.data_types import Data


class Parser(NamedTuple):
    name: str
    function: Callable[[Any], Any]


_NAMES = ("decode", "split", "describe")


def octet_parsers() -> list[Parser]:
    """Of metercast.dlms: what takes the octets alone. What takes an offset too is part of one of these."""
    return [parser for module in _modules(metercast.dlms) for parser in _in(module, bytes, _is_parser)]


def data_parsers() -> list[Parser]:
    """Of metercast.commands: what makes something of the Data that a meter answered with."""
    return [parser for module in _modules(metercast.commands) for parser in _in(module, Data, lambda name: True)]


def _is_parser(name: str) -> bool:
    return name.startswith(_NAMES)


def _modules(package: ModuleType) -> Iterator[ModuleType]:
    for each in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        yield importlib.import_module(each.name)


def _in(module: ModuleType, type_: type, is_wanted: Callable[[str], bool]) -> Iterator[Parser]:
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isroutine(value) or hasattr(value, "cache_info"):
            if is_wanted(name) and _takes(value, type_):
                yield Parser(f"{module.__name__}.{name}", value)
        elif inspect.isclass(value):
            for of_class, method in inspect.getmembers(value, inspect.ismethod):
                if _is_parser(of_class) and _takes(method, type_):
                    yield Parser(f"{module.__name__}.{name}.{of_class}", method)


def _takes(function: Callable[..., Any], type_: type) -> bool:
    """One parameter of that type, and nothing else that must be given."""
    parameters = list(inspect.signature(function).parameters.values())
    needed = [each for each in parameters if each.default is inspect.Parameter.empty]
    if len(needed) != 1 or needed[0] is not parameters[0] or inspect.iscoroutinefunction(function):
        return False
    hints = get_type_hints(function)
    return hints.get(parameters[0].name) is type_ and hints.get("return") is not type(None)
