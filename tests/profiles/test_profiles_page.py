"""docs/profiles.md says what is true: its table is the model's, its examples load."""

import re
from pathlib import Path

import pytest

from metercast.profiles import reference
from metercast.profiles.collection import load_one
from metercast.profiles.files import parse_text

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "profiles.md").read_text()
EXAMPLES = re.findall(r"```toml\n# ([a-z0-9_-]+)\.toml\n(.*?)```", PAGE, re.DOTALL)


def test_the_table_is_the_models() -> None:
    assert reference.filled(PAGE) == PAGE, "run python -m metercast.profiles.reference docs/profiles.md"


def test_every_field_says_what_it_means() -> None:
    found = list(reference.fields())
    assert len(found) > 40
    assert [each.path for each in found if not each.meaning] == []


@pytest.mark.parametrize(("name", "text"), EXAMPLES)
def test_an_example_loads(name: str, text: str) -> None:
    assert load_one(parse_text(text, name, f"{name}.toml")).profile.name == name


def test_every_example_of_a_file_has_its_name() -> None:
    assert len(EXAMPLES) == PAGE.count("```toml\n") > 0


@pytest.mark.parametrize("path", [each.path for each in reference.fields()])
def test_no_field_is_there_for_nothing(path: str) -> None:
    """Each is asked for somewhere: by a command, the driver, or a property of the model."""
    name = path.rpartition(".")[2]
    source = Path(reference.__file__).parents[1]
    texts = [file.read_text() for file in source.rglob("*.py")]
    assert any(re.search(rf"\.{name}\b", text) for text in texts), path
