"""docs/commands.md says what is true: its parameters validate, its table is the registry's."""

import re
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from metercast.commands.registry import COMMANDS, parse_parameters

TEXT = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()
SECTIONS: dict[str, str] = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOURS = {"15 minutes": 0.25, "1 hour": 1, "6 hours": 6, "1 day": 24}


def section_of(name: str) -> str:
    return next(text for title, text in SECTIONS.items() if name in title.split(" and "))


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "RECONNECT"])
def test_the_examples_are_json_and_the_first_is_valid(name: str) -> None:
    examples = re.findall(r"```json\n(.*?)```", section_of(name), re.DOTALL)
    assert len(examples) == 2  # parameters and result
    parameters, result = (msgspec.json.decode(example) for example in examples)
    parse_parameters(COMMANDS[name], parameters, NOW)
    assert isinstance(result, dict)


def test_every_parameter_is_documented() -> None:
    for name, command in COMMANDS.items():
        section = section_of(name) + TEXT.split("## ", 1)[0]
        for field in command.parameters.__struct_encode_fields__:
            if field == "activation":
                field = "activation.mode"
            assert f"`{field}`" in section or f"`{field}[]" in section, (name, field)


def test_the_table_is_the_registry() -> None:
    rows = re.findall(r"^\| \[`(\w+)`\]\(.*?\) \| (\w+) \| (\w+) \| (.+?) \|$", TEXT, re.MULTILINE)
    assert {row[0] for row in rows} == set(COMMANDS)
    for name, resend, group, expires in rows:
        traits = COMMANDS[name].traits
        assert (traits.resend.value, traits.conflict_group.value) == (resend, group)
        assert traits.expires_after.total_seconds() == HOURS[expires] * 3600
