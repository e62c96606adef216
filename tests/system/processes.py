"""Processes that tests started, and what is left of them."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from ska_oso_activity.cli.stack.processes import descendants

START_LIMIT = 60.0
LEFT_ALIVE_LIMIT = 3.0
"""Seconds after which nothing may be alive of a stack that was killed outright."""
CLI = (sys.executable, "-m", "ska_oso_activity.cli")


def wait_until(condition, seconds, what):
    """Wait for something that tells no event, such as the death of another's child."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"after {seconds} s: {what}"
        select.select([], [], [], 0.02)
    return found


def described(pids):
    """Processes with their command lines, for messages."""
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            found.append(f"{pid}: {b' '.join(words).decode()[:200]}")
    return found


def reap_orphans():
    """Take away dead processes that became our children; those of others' Popen are gone by now."""
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = entry.read_text().rpartition(")")[2].split()[:2]
            if state == "Z" and int(parent) == os.getpid():
                os.waitpid(int(entry.parent.name), 0)


def listening_addresses(pids):
    """The local addresses, such as `127.0.0.1`, that processes listen on (IPv4 and IPv6)."""
    inodes = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            links = [entry.readlink().name for entry in Path(f"/proc/{pid}/fd").iterdir()]
            inodes |= {link[8:-1] for link in links if link.startswith("socket:[")}
    found = set()
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and words[9] in inodes:  # listening, and theirs
                packed = bytes.fromhex(words[1].partition(":")[0])
                host_order = b"".join(packed[i : i + 4][::-1] for i in range(0, len(packed), 4))
                found.add(socket.inet_ntop(family, host_order))
    return found


def ours(*words, timeout=90, **options):
    """Run a command of ours to its end, whatever its exit code."""
    return subprocess.run(
        [*CLI, *words], check=False, capture_output=True, text=True, timeout=timeout, **options
    )


@dataclass
class Up:
    """A stack that `ska-oso-activity up` has made ready."""

    process: subprocess.Popen[str]
    ready: dict[str, object]
    stderr: Path

    @property
    def environment(self):
        return {**os.environ, "TANGO_HOST": str(self.ready["tango_host"])}

    def said(self):
        return self.stderr.read_text()

    def child(self, words):
        """The process below the launcher whose command line holds `words`."""
        for pid in descendants(self.process.pid):
            with contextlib.suppress(OSError):
                if words in Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode():
                    return pid
        return None

    def run(self, *words, timeout=60):
        """Run a command of ours against this stack."""
        return ours(*words, env=self.environment, timeout=timeout)

    def end(self, number=signal.SIGTERM):
        """Send a signal; returns the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(30)
        self.lines.close()
        return code

    @property
    def lines(self):
        """Its standard output."""
        assert self.process.stdout
        return self.process.stdout


def start_up(directory, *options):
    """Start a stack in `directory` and wait for its line."""
    stderr = directory / "stderr"
    with stderr.open("w") as file:
        process = subprocess.Popen(
            [*CLI, "up", "--port", "0", *map(str, options)],
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        )
    assert process.stdout
    line = process.stdout.readline()
    assert line, f"it did not start: {stderr.read_text()}"
    return Up(process, json.loads(line), stderr)
