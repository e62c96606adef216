"""Real blocks and bad inputs, where they are kept beside the project; they are not ours to ship."""

import json
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(__file__).parents[3].parent / "shared" / "data"
BLOCKS = sorted((SHARED / "sbd").glob("*.json"))
NO_DATA = "the shared data is not kept beside this checkout (../shared/data)"

needs_shared_data = pytest.mark.skipif(not SHARED.is_dir(), reason=NO_DATA)


def bad_inputs(category: str) -> list[Any]:
    """The cases of one category, as parameters; one that is skipped where there are none."""
    file = SHARED / "bad_inputs.json"
    if not file.is_file():
        return [pytest.param({}, marks=pytest.mark.skip(reason=NO_DATA), id="no data")]
    cases = json.loads(file.read_text(encoding="utf-8"))["cases"]
    return [pytest.param(case, id=case["id"]) for case in cases if case["category"] == category]


def real_blocks() -> list[Any]:
    """The real Scheduling Blocks, as parameters; one that is skipped where there are none."""
    if not BLOCKS:
        return [pytest.param(Path(), marks=pytest.mark.skip(reason=NO_DATA), id="no data")]
    return [pytest.param(path, id=path.stem) for path in BLOCKS]
