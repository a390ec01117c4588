"""What docs/first-contact.md shows is run, and must come out as it stands there."""

import re
import shlex
from pathlib import Path

import pytest
from tests.cli.support import answers

PAGE = (Path(__file__).parents[2] / "docs" / "first-contact.md").read_text()


def test_what_the_page_shows_comes_out(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (keys,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    Path("keys.json").write_text(keys)
    shown = re.findall(r"^\$ metercast (.*)\n((?:[^$`\n].*\n)*)", PAGE, re.MULTILINE)
    assert len(shown) >= 4
    for command, output in shown:
        assert answers(capsys, *shlex.split(command)) == output
