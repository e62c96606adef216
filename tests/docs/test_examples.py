"""Examples in the documentation are what they say: code compiles, commands exist."""

from __future__ import annotations

import json
import re
import shlex

import pytest

from docs import generate
from ska_oso_activity.adapters.pdm import find_activity, read_scheduling_block
from ska_oso_activity.adapters.script_check import check_script
from ska_oso_activity.application.ports import FetchedBlock
from ska_oso_activity.cli.main import app
from ska_oso_activity.domain.arguments import ProcedureInput, main_arguments
from ska_oso_activity.domain.scheduling_block import BlockReference
from tests.docs.pages import DOCS, ROOT, Block, blocks, pages


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_python_examples_compile(block: Block):
    compile(block.text, str(block), "exec", dont_inherit=True)


@pytest.mark.parametrize(
    "block",
    [each for each in blocks("python") if re.search(r"^def main\((?!\))", each.text, re.MULTILINE)],
    ids=str,
)
def test_script_examples_pass_our_own_check(block: Block):
    findings = check_script(block.text, str(block), ProcedureInput(), ProcedureInput(), 1)

    assert findings == []


@pytest.mark.parametrize("block", blocks("json"), ids=str)
def test_json_examples_are_json(block: Block):
    assert json.loads(block.text) is not None


def _command_lines() -> list[tuple[str, str]]:
    """What the reader is told to type, with where."""
    found = []
    for block in blocks("console"):
        found += [(str(block), line[2:]) for line in block.text.splitlines() if line[:2] == "$ "]
    for path in pages():
        text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        text = re.sub(r"\s+", " ", text)
        for inline in re.findall(r"`((?:make|ska-oso-activity) [^`]+)`", text):
            found.append((str(path.relative_to(ROOT)), inline))
    return found


@pytest.mark.parametrize(("where", "line"), _command_lines(), ids=str)
def test_commands_that_a_reader_types_exist(where: str, line: str):
    words = shlex.split(line)

    if words[0] == "make":
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        wanted = {word for word in words[1:] if "=" not in word}
        assert wanted <= targets
    elif words[0] == "ska-oso-activity":
        commands = {each.name: each.callback for each in app.registered_commands}
        assert words[1] in commands
        options = {word for word in words[2:] if word.startswith("--")}
        assert options <= _options_of(commands[words[1]]) | {"--help"}


def _options_of(function) -> set[str]:
    written = " ".join(words for words, _, _ in generate.parameters_of(function))
    return set(re.findall(r"--[a-z-]+", written))


def test_make_variables_that_a_reader_sets_are_used():
    makefile = (ROOT / "Makefile").read_text()

    for _, line in _command_lines():
        for name in re.findall(r"^make .*?\b([A-Z]+)=", line):
            assert f"$({name})" in makefile


def test_the_block_of_the_tutorial_runs_its_script():
    path = DOCS / "tutorial" / "first-activity.md"
    (script,) = blocks("python", path)
    text = next(each.text for each in blocks("console", path) if "<<END" in each.text)
    content = text.partition("<<END\n")[2].partition("END\n")[0].replace("$PWD", "/first")

    block = read_scheduling_block(
        FetchedBlock(content, 1), BlockReference.of_sbd_id("sbd-first-00001")
    )
    activity = find_activity(block, "count")

    assert activity.script.to_json()["uri"] == "file:///first/scripts/count.py"
    given = main_arguments(activity.function_args)
    assert check_script(script.text, "count.py", ProcedureInput(), given, 1) == []
