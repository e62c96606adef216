"""Runs all tests in two halves at once, which take about as long."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parent
DEVICE = ("device",)


def main() -> int:
    rest = sorted(
        each.name
        for each in TESTS.iterdir()
        if each.name not in DEVICE and any(each.rglob("test_*.py"))
    )
    # With folders of its own: pytest closes its own to other users whenever a forked test begins.
    own = tempfile.TemporaryDirectory(prefix="t", ignore_cleanup_errors=True)
    environment = {**os.environ, "PYTEST_DEBUG_TEMPROOT": own.name}
    with own, tempfile.TemporaryFile("w+") as report:
        device = subprocess.Popen(_pytest(DEVICE), stdout=report, stderr=report, env=environment)
        try:
            codes = [subprocess.call(_pytest(rest)), device.wait()]
        except BaseException:
            device.terminate()
            device.wait()
            raise
        report.seek(0)
        sys.stdout.writelines(report)
    return max(codes)


def _pytest(folders: list[str] | tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "pytest", *(str(TESTS / folder) for folder in folders)]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
