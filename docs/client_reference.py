"""The reference of the client library, out of its signatures and docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any

from ska_oso_activity import client

FIRST = ("ActivityClient", "ActivityRun", "AsyncActivityClient", "AsyncActivityRun")
SECTION = re.compile(r"(Args|Attributes|Raises|Returns):$")
ENTRY = re.compile(r"([\w, ]+): (.*)")
ELSEWHERE = {"ActivityState", "Happening", "Reason"}
"""Those that other pages of the reference explain, and a type alias."""


def client_reference() -> str:
    """Every public class, with what its users call."""
    public = [name for name in client.__all__ if name not in ELSEWHERE]
    errors = [name for name in public if issubclass(getattr(client, name), Exception)]
    values = [name for name in public if name not in {*FIRST, *errors}]
    lines: list[str] = []
    for title, names in {
        "Clients and runs": FIRST,
        "Values": values,
        "Errors": sorted(errors, key=lambda name: len(getattr(client, name).__mro__)),
    }.items():
        lines += [f"## {title}", ""]
        for name in names:
            lines += _class(name, getattr(client, name))
    return "\n".join(lines).rstrip() + "\n"


def _class(name: str, kind: type) -> Iterator[str]:
    shown = f"{name}({kind.__base__.__name__})" if issubclass(kind, Exception) else name  # type: ignore[union-attr]
    if is_dataclass(kind) or name in FIRST[::2]:
        shown = f"{name}{_signature(kind)}"
    yield from (f"### {name}", "", f"`{shown}`", "", *_prose(kind), "")
    if kind.__init__.__doc__ and name in FIRST:  # type: ignore[misc]
        yield from (*_prose(kind.__init__), "")  # type: ignore[misc]
    for method, function in vars(kind).items():
        plain = function.fget if isinstance(function, property) else function
        plain = plain.__func__ if isinstance(plain, staticmethod) else plain
        if method.startswith("_") or not inspect.isfunction(plain) or not plain.__doc__:
            continue
        call = method if isinstance(function, property) else f"{method}{_signature(plain)}"
        yield from (f"**`{call}`**", "", *_prose(plain), "")


def _signature(of: Any) -> str:
    signature = inspect.signature(of)
    kept = [
        each.replace(annotation=_short(each.annotation), default=_default(each.default))
        for each in signature.parameters.values()
        if each.name not in {"self", "raw"}
    ]
    given = signature.return_annotation
    returns = inspect.Signature.empty if inspect.isclass(of) else _short(given)
    return str(signature.replace(parameters=kept, return_annotation=returns)).replace("'", "")


class _Word:
    """Something that is shown as it is."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _short(annotation: Any) -> Any:
    return _Word(annotation) if isinstance(annotation, str) else annotation


def _default(value: Any) -> Any:
    if value is inspect.Parameter.empty or isinstance(value, str | int | float | bool | None):
        return value
    return _Word("...")


def _prose(of: Any) -> Iterator[str]:
    """A docstring in the style of Google as Markdown: its sections become lists."""
    section = ""
    for line in (inspect.getdoc(of) or "").splitlines():
        text = line.strip()
        if SECTION.match(text):
            section = text
            yield from ("", text, "")
        elif section and not line.startswith(" "):
            section = ""
            yield line
        elif section and (entry := ENTRY.match(text)) and not line.startswith(" " * 8):
            yield f"- `{entry[1]}`: {entry[2]}"
        elif section:
            yield f"  {text}"
        else:
            yield line
