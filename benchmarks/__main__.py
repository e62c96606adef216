"""`python -m benchmarks`: starts a stack of its own, measures it, and prints what it found.

There is no pass or fail: a machine's times are its own. The ratios to the floor, measured in the
same run, are what may be compared.
"""

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import activities, floor, servers
from benchmarks.client import Client
from benchmarks.report import Figure, Report, Value
from benchmarks.stack import BIG_BLOCK, Stack

SUBARRAYS = 16
POOLS = {"Pool empty, forked on demand": 0, "No fork server, fresh interpreters": -1}
"""Other sizes of the pool of processes that wait for scripts."""
CORE = "% of a core"


def main(
    *,
    quick: Annotated[bool, typer.Option("--quick", help="Few samples, in half a minute.")] = False,
    count: Annotated[
        int, typer.Option("--activities", min=SUBARRAYS, help="Run so many, 16 at once.")
    ] = 200,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write everything to this file.")
    ] = None,
) -> None:
    """Measure how fast activities start, and what they cost."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the stack is stopped then, too
    n = 10 if quick else 50
    report = Report({"quick": quick, "activities": count})
    progress = Console(stderr=True)
    with Stack() as stack, floor.echo_device() as echo:
        client = Client(stack.activity_device, stack.script_execution)
        trivial = stack.add_block("sbd-bench-trivial", "trivial.py")
        big = stack.add_block("sbd-bench-big", "trivial.py", size=BIG_BLOCK)
        talks = stack.add_block("sbd-bench-talks", "talks_to_device.py", device=floor.ECHO)
        exits = stack.add_block("sbd-bench-exits", "exits.py")
        waits = stack.add_block("sbd-bench-waits", "waits.py")
        burns = stack.add_block("sbd-bench-burns", "burns.py")
        floods = stack.add_block("sbd-bench-floods", "floods.py")

        progress.print("the floor ...")
        report.figures["The floor"] = floor.measure(client.device, echo, stack.directory, n)
        report.floor = sum(each.median for each in report.figures["The floor"][:2])

        for title, sbd_id in (
            ("A trivial script", trivial),
            (f"A trivial script, a block of {BIG_BLOCK // 1000} kB", big),
            ("A script that imports tango and commands a device", talks),
        ):
            progress.print(f"{title[0].lower()}{title[1:]} ...")
            report.figures[title] = activities.steps(client, sbd_id, n)
        report.figures["A trivial script that was prepared"] = activities.prepared(
            client, trivial, n
        )
        for title, size in POOLS.items():
            progress.print(f"{title[0].lower()}{title[1:]} ...")
            stack.keep_warm(size)
            report.figures[f"{title}: a trivial script"] = activities.steps(client, trivial, n // 2)
            report.figures[f"{title}: one that imports tango"] = activities.steps(
                client, talks, n // 2
            )
        stack.keep_warm(None)
        progress.print("deaths ...")
        report.figures["A script dies"] = activities.deaths(client, exits, waits, n // 2)

        progress.print("many activities ...")
        measure_crowds(report, stack, client, trivial, count)

        progress.print("idling ...")
        seconds = 2.0 if quick else 4.0
        shares = servers.idle_cpu(stack, seconds)
        report.values.append(Value("idle CPU, all together", sum(shares.values()), CORE))
        report.values += [Value(f"idle CPU, {role}", share, CORE) for role, share in shares.items()]

        progress.print("reads under load ...")
        reads = activities.reads_under_load(client, [burns] * 4 + [floods], 2.0 if quick else 6.0)
        report.figures["While 4 scripts burn CPU and one floods its output"] = reads
        servers.settle(stack)
        shares = servers.idle_cpu(stack, seconds)
        report.values.append(Value("idle CPU after that, all together", sum(shares.values()), CORE))
    console = Console(width=None if sys.stdout.isatty() else 120)
    report.show(console)
    if json_file is not None:
        report.write(json_file)


def measure_crowds(report: Report, stack: Stack, client: Client, sbd_id: str, count: int) -> None:
    """Throughput one by one and with all subarrays at once, and what is held before and after."""
    one_by_one = activities.crowd(client, sbd_id, count // 4, 1)
    activities.crowd(client, sbd_id, 2 * SUBARRAYS, SUBARRAYS)  # what is made once is there then
    servers.settle(stack)
    before, files_before = servers.holdings(stack), servers.disk(stack)
    cpu_before = servers.cpu_seconds(stack)
    at_once = activities.crowd(client, sbd_id, count, SUBARRAYS)
    servers.settle(stack)
    cpu = servers.cpu_seconds(stack)
    files, size = servers.disk(stack)
    report.usage = servers.compare(before, servers.holdings(stack))
    report.figures[f"{SUBARRAYS} subarrays at once"] = [
        Figure("RunActivity to SUCCEEDED event", at_once.each)
    ]
    report.values += [
        Value("one by one", one_by_one.count / one_by_one.seconds, "activities / s"),
        Value(f"{SUBARRAYS} subarrays at once", at_once.count / at_once.seconds, "activities / s"),
        Value("refused although the subarray's last one had ended", at_once.refused, "requests"),
        Value("not SUCCEEDED", at_once.failed + one_by_one.failed, "activities"),
        Value("new in the state directory", (files - files_before[0]) / count, "files / activity"),
        Value(
            "new in the state directory", 1024 * (size - files_before[1]) / count, "KiB / activity"
        ),
        *(
            Value(f"CPU, {role}", 1000 * (cpu[role] - used) / count, "ms / activity")
            for role, used in cpu_before.items()
            if role in cpu
        ),
    ]


if __name__ == "__main__":
    typer.run(main)
