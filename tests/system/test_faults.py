"""The fault suite for a while, with a seed of its own each time: `make faults` does it for long.

Here processes are killed, at every state; what else can go wrong, `make faults` tries, too.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MINUTES = 1.0
LIMIT = 200
"""Seconds with starting, and with the round that was begun last."""


@pytest.mark.timeout(LIMIT + 30)
def test_promises_are_kept_whatever_dies_when(tmp_path, left):
    seed = os.environ.get("FAULTS_SEED")
    command = [sys.executable, "-m", "faults", "--only", "SIGKILL", "--minutes", f"{MINUTES:.3f}"]
    command += ["--stories", str(tmp_path / "stories"), *(["--seed", seed] if seed else [])]

    ran = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT, check=False
    )

    seed_line = ran.stderr.splitlines()[0] if ran.stderr else "no seed"
    print(seed_line)
    if ran.returncode != 0:
        stories = [story.read_text() for story in tmp_path.glob("stories/*/story.txt")]
        pytest.fail("\n".join([seed_line, ran.stdout, ran.stderr, *stories]), pytrace=False)
