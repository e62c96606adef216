"""Greets: shows where a script's arguments come from, and where its words go."""

import logging
import sys
from typing import Any

from ska_oso_activity import script

LOG = logging.getLogger("hello")
remembered: dict[str, str] = {}


def init(greeting: str = "Hello", punctuation: str = "!") -> None:
    """Remember how to greet."""
    remembered.update(greeting=greeting, punctuation=punctuation)
    print(f"init was given {greeting!r} and {punctuation!r}")


def main(*names: str, repeat: int = 1, sbi_id: str | None = None, **others: Any) -> dict[str, Any]:
    """Greet each of `names`, `repeat` times; return all that was said."""
    greeting = remembered.get("greeting", "Hello")
    said = [f"{greeting}, {name}{remembered.get('punctuation', '!')}" for name in names] * repeat

    for number, line in enumerate(said, start=1):
        print(line)
        script.progress(number / len(said), line)
    print(f"on stderr: that was {len(said)} greetings", file=sys.stderr)
    LOG.info("in the log: run as %s, other arguments %s", sbi_id, sorted(others))
    script.announce(f"said hello {len(said)} times")
    return {"said": said, "sbi_id": sbi_id}
