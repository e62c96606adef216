"""Runs all tests in two halves at once: what waits for servers most of the time, and the rest."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parent
WITH_SERVERS = ("device", "system")


def main() -> int:
    rest = sorted(
        each.name
        for each in TESTS.iterdir()
        if each.name not in WITH_SERVERS and any(each.rglob("test_*.py"))
    )
    with tempfile.TemporaryFile("w+") as report:
        servers = subprocess.Popen(_pytest(WITH_SERVERS), stdout=report, stderr=report)
        try:
            codes = [subprocess.call(_pytest(rest)), servers.wait()]
        except BaseException:
            servers.terminate()
            servers.wait()
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
