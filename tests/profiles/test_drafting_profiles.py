"""Profiles that are written by a program: only what differs, and it reads back the same."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metercast.profiles.draft import check_draft, draft
from metercast.profiles.errors import ProfileError, UnknownProfile
from metercast.profiles.toml_text import tables

FOUND = {
    "description": 'ACME "E350", firmware 2',
    "dates.deviation_sign": "inverted",
    "calendar.max_seasons": 4,
    "calendar.max_weeks": 64,  # as in generic
    "association.release": False,
    "clients.reader.sap": 2,
    "clients.reader.invocation_counter": "0.0.43.1.2.255",
    "delays.between_associations": 2.5,
    "registers.instantaneous": ["1.0.1.7.0.255", "1.0.2.7.0.255"],
}
DRAFT = """extends = "generic"
description = "ACME \\"E350\\", firmware 2"

[dates]
deviation_sign = "inverted"  # its clock said so

[calendar]
max_seasons = 4

[association]
release = false

[clients.reader]
sap = 2
invocation_counter = "0.0.43.1.2.255"

[delays]
between_associations = 2.5

[registers]
instantaneous = ["1.0.1.7.0.255", "1.0.2.7.0.255"]
"""


def test_only_what_differs_is_written_and_it_loads() -> None:
    text = draft("acme", FOUND, notes={"dates.deviation_sign": "its clock\nsaid so"})
    assert text == DRAFT
    profile = check_draft("acme", text).profile
    assert (profile.name, profile.clients["reader"].sap, profile.association.release) == ("acme", 2, False)


def test_what_the_extended_profile_says_already_is_left_out() -> None:
    assert draft("acme", {"calendar.max_seasons": 4, "calendar.max_days": 3}, extends="dsmr") == (
        'extends = "dsmr"\n\n[calendar]\nmax_days = 3\n'
    )
    assert draft("acme", {}) == 'extends = "generic"\n'


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("acme", {"calendar.max_seasons": 0}, "acme.toml: calendar.max_seasons: expected `int` >= 1; received 0"),
        ("acme", {"calendar.typo": 1}, "acme.toml: calendar.typo: unknown field; received 1"),
        ("acme", {"calendar": 1}, "acme.toml: calendar: expected `object`"),
        ("ACME", {}, "ACME.toml: a profile's name is made of"),
        ("dsmr", {}, "dsmr.toml: a profile dsmr exists already"),
    ],
)
def test_a_draft_that_would_not_load_is_refused(name: str, values: dict[str, object], told: str) -> None:
    with pytest.raises(ProfileError) as caught:
        draft(name, values)
    assert str(caught.value).startswith(told)


def test_a_base_that_is_not_known_is_refused() -> None:
    with pytest.raises(UnknownProfile):
        draft("acme", {}, extends="nobody")


plain = st.one_of(
    st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), st.text()
)
value = st.recursive(
    st.one_of(plain, st.lists(plain, max_size=3)), lambda below: st.dictionaries(st.text(), below, max_size=3)
)


@given(st.dictionaries(st.text(), value, max_size=4))
def test_any_values_read_back_the_same(values: dict[str, object]) -> None:
    assert tomllib.loads("\n".join(tables(values, {}))) == values
