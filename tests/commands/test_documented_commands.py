"""docs/commands/ says what is true: its examples validate, what is made of the registry is the registry's."""

import re
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from metercast.commands import reference
from metercast.commands.registry import COMMANDS, parse_parameters

FOLDER = Path(__file__).parents[2] / "docs" / "commands"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_are_json_and_the_first_is_valid(name: str) -> None:
    examples = re.findall(r"```json\n(.*?)```", (FOLDER / f"{name}.md").read_text(), re.DOTALL)
    assert len(examples) == 2  # parameters and result
    parameters, result = (msgspec.json.decode(example) for example in examples)
    parse_parameters(COMMANDS[name], parameters, NOW)
    assert isinstance(result, dict)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_parameter_is_explained(name: str) -> None:
    by_hand = (FOLDER / f"{name}.md").read_text().split(reference.BEGIN)[0] + (FOLDER / "README.md").read_text()
    for field in COMMANDS[name].parameters.__struct_encode_fields__:
        assert re.search(rf"`{field}[`\[.]", by_hand), field


@pytest.mark.parametrize("name", reference.pages())
def test_what_is_made_is_up_to_date(name: str) -> None:
    page = (FOLDER / name).read_text()
    assert reference.filled(page, reference.pages()[name]) == page, "run python -m metercast.commands.reference"


def test_there_is_no_page_of_nothing() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(reference.pages())
