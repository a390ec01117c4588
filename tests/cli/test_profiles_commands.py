"""`metercast profiles`: list, show with the file of each value, check of one file."""

import json
from pathlib import Path

import pytest
from tests.cli.support import answers, complains

Capture = pytest.CaptureFixture[str]

ACME = 'extends = "dsmr"\ndescription = "ACME E350"\n[calendar]\nmax_days = 3\n'


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "acme.toml").write_text(ACME)
    return tmp_path


def test_list_names_each_profile_and_whom_it_extends(
    own: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("METERCAST_PROFILES_DIR", str(own))
    listed = {each["name"]: each for each in json.loads(answers(capsys, "profiles", "list", "--json"))["profiles"]}
    assert listed["acme"] == {
        "name": "acme", "extends": "dsmr", "description": "ACME E350", "file": str(own / "acme.toml"),
    }  # fmt: skip
    assert listed["generic"]["extends"] is None
    assert {"idis", "dsmr", "spodes", "is15959"} < set(listed)
    assert "ACME E350" in answers(capsys, "profiles", "list")


def test_show_tells_the_file_of_each_value(own: Path, capsys: Capture) -> None:
    shown = json.loads(answers(capsys, "profiles", "show", "acme", "--profiles-dir", str(own), "--json"))
    assert shown["chain"] == ["acme", "dsmr", "generic"]
    assert shown["values"]["calendar.max_days"] == {"value": 3, "file": str(own / "acme.toml")}
    assert shown["values"]["calendar.max_weeks"] == {"value": 4, "file": "dsmr.toml"}
    assert shown["values"]["objects.clock"] == {"value": "0.0.1.0.0.255", "file": "generic.toml"}
    text = answers(capsys, "profiles", "show", "acme", "--profiles-dir", str(own))
    assert "chain: acme < dsmr < generic" in text
    assert any(line.split() == ["calendar.max_weeks", "dsmr.toml", "4"] for line in text.splitlines())


def test_show_of_an_unknown_name_lists_the_known_ones(capsys: Capture) -> None:
    told = complains(capsys, "profiles", "show", "acme", code=1)
    assert "'acme': no such profile; known: dsmr, generic" in told


def test_check_shows_what_the_file_says_itself(own: Path, capsys: Capture) -> None:
    text = answers(capsys, "profiles", "check", str(own / "acme.toml"))
    assert text.splitlines()[0] == f"{own / 'acme.toml'}: good. It extends dsmr; values of its own: 2"
    assert "calendar.max_days  3" in text
    assert "max_weeks" not in text


def test_check_of_a_wrong_file_names_field_and_value(own: Path, capsys: Capture) -> None:
    (own / "acme.toml").write_text(ACME.replace("3", "0"))
    told = complains(capsys, "profiles", "check", str(own / "acme.toml"), code=1)
    expected = f"metercast: {own / 'acme.toml'}: calendar.max_days: expected `int` >= 1; received 0\n"
    assert told == expected


def test_check_finds_what_it_extends_beside_it(
    own: Path, tmp_path_factory: pytest.TempPathFactory, capsys: Capture
) -> None:
    (own / "acme-2.toml").write_text('extends = "acme"\n')
    assert "It extends acme" in answers(capsys, "profiles", "check", str(own / "acme-2.toml"))
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "acme-2.toml"
    elsewhere.write_text('extends = "acme"\n')
    complains(capsys, "profiles", "check", str(elsewhere), code=1)
    assert "It extends acme" in answers(capsys, "profiles", "check", str(elsewhere), "--profiles-dir", str(own))
