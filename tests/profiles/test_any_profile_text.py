"""Any text and any value in a profile's file: it loads, or one line says which field is wrong."""

import math
import tomllib
from datetime import date
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from metercast.profiles.collection import BUILT_IN, load_one
from metercast.profiles.errors import ProfileError
from metercast.profiles.files import ProfileFile, parse_text
from metercast.profiles.inheritance import leaves
from metercast.profiles.model import Profile
from metercast.profiles.toml_text import tables

GENERIC = dict(leaves(BUILT_IN.find("generic").merged.values))
ODD: list[Any] = [
    *(True, 0, -1, 7, 2**40, 1.5, -0.0, math.inf, math.nan, "", "x", "0.0.1.0.0.255", "dsmr", "digit"),
    *([], [1], ["x"], [["0.0.1.0.0.255"]], {}, {"x": 1}, {"x": {"y": 1}}, {"sap": 3}, date(2026, 11, 28)),
]


def load(values: dict[str, Any]) -> Profile:
    return load_one(ProfileFile("acme", "acme.toml", "generic", values)).profile


def refusal(values: dict[str, Any]) -> ProfileError | None:
    try:
        assert load(values).name == "acme"
    except ProfileError as error:
        return error
    return None


def check(error: ProfileError | None) -> None:
    """One line of bounded length, of our file: generic is right as it is."""
    text = "acme.toml: " if error is None else str(error)
    assert text.startswith("acme.toml: "), text
    assert len(text.splitlines()) == 1
    assert len(text) < 1000


@pytest.mark.parametrize("key", sorted(GENERIC))
def test_an_odd_value_in_any_field_is_taken_or_told(key: str) -> None:
    for value in ODD:
        values: dict[str, Any] = {}
        table = values
        *path, last = key.split(".")
        for step in path:
            table = table.setdefault(step, {})
        table[last] = value
        error = refusal(values)
        check(error)
        if error is not None:
            assert error.field is not None
            # A value that clashes with one of another table is told there.
            assert error.field.startswith((key.partition(".")[0], "association.counter_client")), str(error)


keys = st.one_of(st.sampled_from([*GENERIC, "events.x.codes.1", "events.x.object", "clients.y.sap", "name"]), st.text())
values = st.recursive(
    st.sampled_from(ODD),
    lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(st.text(), below, max_size=3)),
)


@given(st.dictionaries(keys, values, max_size=4))
def test_any_tables_are_taken_or_told(found: dict[str, Any]) -> None:
    nested: dict[str, Any] = {}
    for key, value in found.items():
        table = nested
        *path, last = key.split(".")
        for step in path:
            below = table.setdefault(step, {})
            if not isinstance(below, dict):
                below = table[step] = {}
            table = below
        table[last] = value
    check(refusal(nested))


@given(st.text())
@example('extends = "generic"\n')
@example("[" * 3000)
@example('extends = "generic"\n[clients.management]\nsap = 0x10')
def test_any_text_is_taken_or_told(text: str) -> None:
    found: ProfileError | None = None
    try:
        load_one(parse_text(text, "acme", "acme.toml"))
    except ProfileError as error:
        found = error
    check(found)


@pytest.mark.parametrize("name", list(BUILT_IN))
def test_what_is_shown_of_a_profile_is_a_profile_again(name: str) -> None:
    values = BUILT_IN.find(name).merged.values
    again = tomllib.loads("\n".join(tables(values, {})))
    assert load(again) == load(values)
