"""Names of code, tests and classes in the documentation exist."""

from __future__ import annotations

import ast
import importlib
import re

import pytest

from tests.docs.pages import DOCS, ROOT, SOURCE, Block, blocks, classes, page, pages

OET = page("explanation/from-the-oet.md")
CODE = sorted(set(re.findall(r"`([a-z_.]+:\w+(?:\.\w+)*)`", OET)))
TESTS = sorted(set(re.findall(r"`(tests/[\w/]+\.py(?:::\w+)?)`", OET)))


@pytest.mark.parametrize("name", CODE)
def test_code_that_the_oet_page_names_exists(name: str):
    module, _, path = name.partition(":")

    found = importlib.import_module(f"ska_oso_activity.{module}")
    for step in path.split("."):
        found = getattr(found, step)


@pytest.mark.parametrize("name", TESTS)
def test_tests_that_the_oet_page_names_exist(name: str):
    file, _, function = name.partition("::")

    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    functions = {each.name for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)}
    assert not function or function in functions


def test_every_row_of_the_oet_page_names_code_and_a_test():
    rows = [line for line in OET.splitlines() if line.startswith("| ") and "---" not in line]
    rows = [row for row in rows if not row.startswith("| the OET |")]

    assert len(rows) > 20
    for row in rows:
        _, ours, shown, differs = row.strip("| ").split(" | ")
        assert "`" in ours or "](" in ours
        assert "`tests/" in shown
        assert differs


@pytest.mark.parametrize("path", pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_of_the_package_that_a_page_names_exist(path):
    text = path.read_text(encoding="utf-8")

    for name in re.findall(
        r"`((?:domain|application|adapters|devices|script_host)/\w+\.py)`", text
    ):
        assert (SOURCE / name).is_file(), name


@pytest.mark.parametrize("path", pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_a_page_links_to_exist(path):
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)

    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (path.parent / target).exists(), target


# --- Diagrams -------------------------------------------------------------------------------

DIAGRAMS = blocks("mermaid")


@pytest.mark.parametrize("block", DIAGRAMS, ids=str)
def test_classes_in_diagrams_exist_and_have_the_methods_that_are_drawn(block: Block):
    known = classes()

    if block.text.startswith("classDiagram"):
        drawn = re.findall(
            r"^    class (\w+) \{\n(.*?)^    \}", block.text, re.DOTALL | re.MULTILINE
        )
        for name, body in drawn:
            assert set(re.findall(r"\+(\w+)\(", body)) <= known[name].methods
        for one, other in re.findall(r"^    (\w+) (?:-->|\.\.\|>) (\w+)", block.text, re.MULTILINE):
            assert {one, other} <= set(known)
    elif block.text.startswith("sequenceDiagram"):
        participants = re.findall(r"participant \w+ as (\w+)", block.text)
        assert {name for name in participants if name[0].isupper()} <= set(known)


@pytest.mark.parametrize("block", DIAGRAMS, ids=str)
def test_diagrams_use_no_word_that_mermaid_takes_for_its_own(block: Block):
    if block.text.startswith("sequenceDiagram"):
        for line in block.text.splitlines():
            assert ";" not in line
            assert not re.search(r": .*\bend\b", line)


def test_adapters_in_the_class_diagram_have_the_methods_of_their_ports():
    known = classes()
    (diagram,) = (each for each in DIAGRAMS if each.text.startswith("classDiagram"))
    pairs = re.findall(r"^    (\w+) \.\.\|> (\w+)", diagram.text, re.MULTILINE)

    assert pairs
    for adapter, port in pairs:
        assert "Protocol" in known[port].bases
        assert known[port].methods <= known[adapter].methods


def test_every_decision_is_listed_and_has_its_three_parts():
    folder = DOCS / "decisions"

    listed = re.findall(r"^(\d{4}-[\w-]+)$", page("decisions/index.md"), re.MULTILINE)
    assert listed == sorted(path.stem for path in folder.glob("0*.md"))
    for name in listed:
        text = page(f"decisions/{name}.md")
        assert all(f"**{part}.**" in text for part in ("Context", "Decision", "Consequences"))


def test_every_promise_is_accounted_for():
    numbers = re.findall(r"^\| P(\d+) \|", page("explanation/faults.md"), re.MULTILINE)

    assert numbers == [str(number) for number in range(1, 13)]
