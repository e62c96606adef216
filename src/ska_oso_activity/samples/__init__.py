"""Scheduling Blocks and scripts that observe them; stands beside the layers.

The shipped blocks name their scripts below a placeholder, because a block holds absolute paths and
the package may be installed anywhere. `install` makes the copy that can be run.
"""

import json
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ABORT_SCRIPT", "LOW_SBD_ID", "MID_SBD_ID", "Samples", "install"]

MID_SBD_ID = "sbd-mid-20261124-00001"
LOW_SBD_ID = "sbd-low-20261124-00001"

_SHIPPED = Path(__file__).parent
_PLACEHOLDER = "file:///samples/scripts/"

ABORT_SCRIPT = _SHIPPED / "scripts" / "abort.py"
"""The abort script, where it is installed."""


@dataclass(frozen=True)
class Samples:
    """Where a copy of the samples is, as absolute paths, and what its blocks are called."""

    oda: Path
    """Directory of a filesystem ODA: `<oda>/sbd/<sbd_id>/<version>.json`."""
    scripts: Path
    """Directory of the scripts that the blocks name."""
    mid_sbd_id: str
    low_sbd_id: str


def install(directory: Path) -> Samples:
    """Write a ready-to-use copy of the samples into `directory`, which is made if it is missing.

    Samples that are already there are written anew; whatever else the directory holds stays.
    """
    directory = directory.resolve()
    samples = Samples(directory / "oda", directory / "scripts", MID_SBD_ID, LOW_SBD_ID)
    for script in (_SHIPPED / "scripts").glob("*.py"):
        _write(samples.scripts / script.name, script.read_text(encoding="utf-8"))
    real_prefix = json.dumps(f"file://{samples.scripts}/")[1:-1]  # escaped, without its quotes
    for block in (_SHIPPED / "oda").rglob("*.json"):
        text = block.read_text(encoding="utf-8").replace(_PLACEHOLDER, real_prefix)
        _write(samples.oda / block.relative_to(_SHIPPED / "oda"), text)
    return samples


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
