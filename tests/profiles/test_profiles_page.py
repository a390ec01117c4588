"""docs/profiles.md says what is true: its table is the model's, its examples load."""

import re
from pathlib import Path

import pytest

from metercast.cli.main import run
from metercast.profiles import reference
from metercast.profiles.collection import Profiles

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "profiles.md").read_text()
EXAMPLES = re.findall(r"```toml\n# ([a-z0-9_-]+)\.toml\n(.*?)```", PAGE, re.DOTALL)


def test_the_table_is_the_models() -> None:
    assert reference.filled(PAGE) == PAGE, "run python -m metercast.profiles.reference docs/profiles.md"


def test_every_field_says_what_it_means() -> None:
    found = list(reference.fields())
    assert len(found) > 40
    assert [each.path for each in found if not each.meaning] == []


def test_the_examples_load_together(tmp_path: Path) -> None:
    for name, text in EXAMPLES:
        (tmp_path / f"{name}.toml").write_text(text)
    loaded = Profiles.load(tmp_path)
    assert [loaded.get(name).dates.deviation_sign for name, _ in EXAMPLES] == ["inverted", "standard"]


def test_every_example_of_a_file_has_its_name() -> None:
    assert len(EXAMPLES) == PAGE.count("```toml\n") > 0


@pytest.mark.parametrize("path", [each.path for each in reference.fields()])
def test_no_field_is_there_for_nothing(path: str) -> None:
    """Each is asked for somewhere: by a command, the driver, or a property of the model."""
    name = path.rpartition(".")[2]
    source = Path(reference.__file__).parents[1]
    texts = [file.read_text() for file in source.rglob("*.py")]
    assert any(re.search(rf"\.{name}\b", text) for text in texts), path


def test_what_the_page_prints_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "profiles").mkdir()
    for name, text in EXAMPLES:
        (tmp_path / "profiles" / f"{name}.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    shown = re.findall(r"```console\n\$ metercast (.*?)\n(.*?)```", PAGE, re.DOTALL)
    assert len(shown) == 2
    for command, output in shown:
        assert run(command.split()) == 0
        printed = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
        assert printed == [" ".join(line.split()) for line in output.splitlines()]


def test_every_word_of_the_page_is_a_field_or_an_error_word() -> None:
    """In the table of what goes wrong, and what it says of fields in the text."""
    known = {each.path for each in reference.fields()} | {each.path.partition(".")[0] for each in reference.fields()}
    rows = re.findall(r"^\| .* \| (.*) \|$", PAGE.partition("## How files")[0], re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
    assert len(named) > 15
    assert [name for name in named if name not in known] == []
