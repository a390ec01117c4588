"""Profiles from files: inheritance, where each value comes from, and what refuses a file, by field and value."""

from pathlib import Path

import pytest

from metercast.dlms.logical_name import LogicalName
from metercast.profiles.collection import BUILT_IN, Profiles
from metercast.profiles.errors import ProfileError, UnknownProfile
from metercast.profiles.files import built_in_files
from metercast.profiles.inheritance import leaves

GENERIC = 'extends = "generic"\n'


def write(directory: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (directory / f"{name}.toml").write_text(text)
    return directory


def refused(directory: Path) -> str:
    with pytest.raises(ProfileError) as caught:
        Profiles.load(directory)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_generic_is_whole_and_every_value_of_it_comes_from_its_file() -> None:
    loaded = BUILT_IN.find("generic")
    assert loaded.profile.objects.clock == LogicalName.parse("0.0.1.0.0.255")
    assert loaded.merged.chain == ("generic",)
    assert set(loaded.merged.sources.values()) == {"generic.toml"}
    assert {key for key, _ in leaves(loaded.merged.values)} == set(loaded.merged.sources)


def test_every_built_in_file_is_loaded_and_says_what_it_extends() -> None:
    files = list(built_in_files())
    assert [each.name for each in files] == list(BUILT_IN)
    assert [each.name for each in files if each.extends is None] == ["generic"]


def test_a_profile_says_what_differs_and_inherits_the_rest(tmp_path: Path) -> None:
    write(
        tmp_path,
        acme=GENERIC + 'description = "ACME"\n[calendar]\nmax_seasons = 4\n[clients.reader]\nsap = 2\n'
        'invocation_counter = "0.0.43.1.2.255"\n',
        acme2='extends = "acme"\n[calendar]\nmax_weeks = 3\n[dates]\ndeviation_sign = "inverted"\n',
    )
    loaded = Profiles.load(tmp_path).find("acme2")
    profile = loaded.profile
    assert (profile.name, profile.description) == ("acme2", "ACME")
    assert (profile.calendar.max_seasons, profile.calendar.max_weeks, profile.calendar.max_days) == (4, 3, 255)
    assert profile.dates.deviation_sign == "inverted"
    assert sorted(profile.clients) == ["management", "public", "reader"]
    assert loaded.merged.chain == ("acme2", "acme", "generic")
    sources = loaded.merged.sources
    assert sources["calendar.max_seasons"] == str(tmp_path / "acme.toml")
    assert sources["calendar.max_weeks"] == str(tmp_path / "acme2.toml")
    assert sources["calendar.max_days"] == "generic.toml"


def test_a_list_takes_the_place_of_the_one_extended(tmp_path: Path) -> None:
    write(tmp_path, acme=GENERIC + '[registers]\ninstantaneous = ["1.0.1.7.0.255"]\n')
    assert Profiles.load(tmp_path).get("acme").registers.instantaneous == [LogicalName.parse("1.0.1.7.0.255")]


def test_what_is_no_profile_in_the_directory_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("none")
    (tmp_path / "old").mkdir()
    assert list(Profiles.load(tmp_path)) == list(BUILT_IN)


def test_an_unknown_name_is_told_with_the_known_ones(tmp_path: Path) -> None:
    profiles = Profiles.load(write(tmp_path, acme=GENERIC))
    assert "acme" in profiles
    assert "Acme" not in profiles
    with pytest.raises(UnknownProfile, match=r"^no such profile; known: acme, .*generic"):
        profiles.get("Acme")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[calendar]\nmax_seasons = 0", "calendar.max_seasons: expected `int` >= 1; received 0"),
        ('[calendar]\nmax_seasons = "4"', "calendar.max_seasons: expected `int`, got `str`; received 4"),
        ("[calendar]\nmax_seasosn = 4", "calendar.max_seasosn: unknown field; received 4"),
        ("[calender]\nmax_seasons = 4", "calender: unknown field; received {'max_seasons': 4}"),
        ("calendar = 4", "calendar: expected `object`, got `int`; received 4"),
        (
            '[calendar]\nwrite_order = ["name", "name", "days", "weeks"]',
            "calendar.write_order: each part stands in it once; received ['name', 'name', 'days', 'weeks']",
        ),
        (
            '[calendar]\nwrite_order = ["name", "months", "days", "weeks"]',
            "calendar.write_order[1]: invalid enum value 'months'; received months",
        ),
        (
            '[objects]\nclock = "0.0.1"',
            "objects.clock: not a logical name: '0.0.1'; write it as 0.0.1.0.0.255; received 0.0.1",
        ),
        ("[objects]\nclock = 8", "objects.clock: a logical name such as 0.0.1.0.0.255 is expected; received 8"),
        ('[dates]\ndeviation_sign = "plus"', "dates.deviation_sign: invalid enum value 'plus'; received plus"),
        (
            '[registers]\ninstantaneous = ["1.0.1.7.0.255", "1.0.1.7"]',
            "registers.instantaneous[1]: not a logical name: '1.0.1.7'; write it as 0.0.1.0.0.255; received 1.0.1.7",
        ),
        (
            '[clients.reader]\nsap = 70000\ninvocation_counter = "0.0.43.1.2.255"',
            "clients.reader.sap: expected `int` <= 65535; received 70000",
        ),
        ("[clients.reader]\nsap = 2", "clients.reader.invocation_counter: required, and missing"),
        (
            '[clients.reader]\nsap = 16\ninvocation_counter = "0.0.43.1.2.255"',
            "clients.reader.sap: the same as clients.public.sap; received 16",
        ),
        (
            '[clients.Reader]\nsap = 2\ninvocation_counter = "0.0.43.1.2.255"',
            "clients.Reader: expected `str` matching regex '^[a-z0-9][a-z0-9_-]{0,63}$'; received Reader",
        ),
        (
            '[events.standard.codes]\nX1 = "power down"',
            "events.standard.codes.X1: expected `str` matching regex '^[0-9]{1,5}$'; received X1",
        ),
        ("[events.standard.codes]\n1 = 1", "events.standard.codes.1: expected `str`, got `int`; received 1"),
        ('[association]\ncounter_client = "nobody"', "association.counter_client: no such client in clients"),
        ('name = "acme"', "name: unknown field: the file's name is the profile's; received acme"),
    ],
)
def test_a_wrong_value_is_told_with_file_field_and_value(tmp_path: Path, text: str, told: str) -> None:
    write(tmp_path, acme=GENERIC + text + "\n")
    assert refused(tmp_path).startswith(f"{tmp_path / 'acme.toml'}: {told}")


def test_a_wrong_value_is_told_with_the_file_that_it_comes_from(tmp_path: Path) -> None:
    write(tmp_path, abase=GENERIC + "[delays]\nlooks = 0\n", acme='extends = "abase"\n[delays]\nbetween_looks = 1\n')
    assert refused(tmp_path).startswith(f"{tmp_path / 'abase.toml'}: delays.looks: ")
    write(tmp_path, abase=GENERIC)
    (tmp_path / "zeta.toml").write_text('extends = "acme"\n[delays]\nlooks = 101\n')
    assert refused(tmp_path).startswith(f"{tmp_path / 'zeta.toml'}: delays.looks: ")


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ({"acme": "[calendar]\n"}, 'acme.toml: extends: required, and missing; write extends = "generic"'),
        ({"acme": "extends = 1\n"}, "acme.toml: extends: the name of a profile is expected; received 1"),
        ({"acme": 'extends = "nobody"\n'}, "acme.toml: extends: no such profile; known: acme, "),
        ({"acme": 'extends = "acme"\n'}, "acme.toml: extends: a circle: acme extends acme; received acme"),
        (
            {"a": 'extends = "b"\n', "b": 'extends = "c"\n', "c": 'extends = "a"\n'},
            "c.toml: extends: a circle: a extends b extends c extends a; received a",
        ),
        ({"generic": ""}, "generic.toml: a profile generic exists already: generic.toml"),
        ({"Acme": GENERIC}, "Acme.toml: a profile's name is made of a-z, 0-9, - and _, at most 64; received Acme"),
        ({"acme": "extends = "}, "acme.toml: no TOML: "),
        ({"acme": "a = " + "[" * 5000}, "acme.toml: no TOML: "),
    ],
)
def test_a_wrong_file_is_told(tmp_path: Path, texts: dict[str, str], told: str) -> None:
    write(tmp_path, **texts)
    assert refused(tmp_path).startswith(f"{tmp_path}/{told}")


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    assert refused(tmp_path / "none") == f"{tmp_path / 'none'}: cannot be read: No such file or directory"
    (tmp_path / "acme.toml").write_bytes(b"\xff\xfe")
    assert refused(tmp_path).startswith(f"{tmp_path / 'acme.toml'}: not UTF-8: ")
    (tmp_path / "acme.toml").write_bytes(b"#" * (1 << 20) + b"\n")
    assert refused(tmp_path) == f"{tmp_path / 'acme.toml'}: more than 1048576 octets"
    (tmp_path / "acme.toml").unlink()
    (tmp_path / "acme.toml").mkdir()
    assert refused(tmp_path) == f"{tmp_path / 'acme.toml'}: cannot be read: Is a directory"


def test_the_counter_of_a_client_is_found_by_its_address_or_name(tmp_path: Path) -> None:
    reader = '[clients.reader]\nsap = 2\ninvocation_counter = "0.0.43.1.2.255"\n'
    profile = Profiles.load(write(tmp_path, acme=GENERIC + reader)).get("acme")
    assert str(profile.invocation_counter("management", 1)) == "0.0.43.1.0.255"
    assert str(profile.invocation_counter("management", 2)) == "0.0.43.1.2.255"
    assert str(profile.invocation_counter("reader", 99)) == "0.0.43.1.2.255"
    assert str(profile.invocation_counter("other", 99)) == "0.0.43.1.0.255"
    assert [profile.client_sap(name) for name in ("management", "public", "reader", "other")] == [1, 16, 2, 1]
