"""The documentation's pages, and what the tests look for in them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SOURCE = ROOT / "src" / "ska_oso_activity"


def pages() -> list[Path]:
    """README and all pages that are written by hand."""
    return [
        ROOT / "README.md",
        *sorted(
            path
            for path in DOCS.rglob("*.md")
            if not {"_build", "generated"} & set(path.relative_to(DOCS).parts)
        ),
    ]


def page(name: str) -> str:
    """The text of a page below docs."""
    return (DOCS / name).read_text(encoding="utf-8")


@dataclass(frozen=True)
class Block:
    """A fenced block of code.

    Attributes:
        line: where its fence stands.
        before: the line above the fence.
    """

    path: Path
    line: int
    language: str
    text: str
    before: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}"


def blocks(language: str, path: Path | None = None) -> list[Block]:
    """All blocks in a language, of one page or of all."""
    found = [block for each in ([path] if path else pages()) for block in _blocks_of(each)]
    return [block for block in found if block.language == language]


def _blocks_of(path: Path) -> Iterator[Block]:
    lines = path.read_text(encoding="utf-8").splitlines()
    start, fence = None, ""
    for number, line in enumerate(lines):
        stripped = line.lstrip()
        if start is None and (opening := re.match(r"(```+)([a-z{}]*)", stripped)):
            start, fence, language = number, opening[1], opening[2].strip("{}")
            indent = len(line) - len(stripped)
        elif start is not None and stripped == fence:
            text = "\n".join(each[indent:] for each in lines[start + 1 : number]) + "\n"
            before = lines[start - 1] if start else ""
            yield Block(path, start + 1, language, text, before)
            start = None


@dataclass(frozen=True)
class FoundClass:
    """A class of the package: what it is based on, and its methods."""

    bases: frozenset[str]
    methods: frozenset[str]


def classes() -> dict[str, FoundClass]:
    """All classes of the package by name, read without importing anything."""
    found = {}
    # Of two with one name, that of the devices' side is meant.
    programs = {"cli", "client", "script_host"}
    paths = list(SOURCE.rglob("*.py"))
    for path in sorted(paths, key=lambda each: not programs & set(each.relative_to(SOURCE).parts)):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                methods = {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
                bases = {each.id for each in node.bases if isinstance(each, ast.Name)}
                found[node.name] = FoundClass(frozenset(bases), frozenset(methods))
    return found
