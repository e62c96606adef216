"""Processes of scripts, found by the mark in their environment."""

from __future__ import annotations

from pathlib import Path

MARK = b"SKA_OSO_ACTIVITY_PROCEDURE="


def marked(tango_host: str) -> list[str]:
    """Living processes of scripts of one stack; those that wait for a script are not among them."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
            name = (entry / "comm").read_text().strip()
            stat = (entry / "stat").read_text(errors="replace")
        except OSError:
            continue
        marks = [each for each in variables if each.startswith(MARK)]
        if not marks or f"TANGO_HOST={tango_host}".encode() not in variables:
            continue
        procedure = marks[0].rpartition(b":")[2]
        if procedure.strip(b"0") and stat[stat.rindex(")") + 2] not in "ZX":
            found.append(f"{name} {entry.name} of procedure {int(procedure)}")
    return found
