"""From the host's order to the script's outcome, stage by stage (script's process)."""

from __future__ import annotations

import faulthandler
import gc
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from ska_oso_activity.script_host.child.calling import (
    Arguments,
    CannotCall,
    Platform,
    check_call,
    find_function,
    init_arguments,
    start_arguments,
    startable,
)
from ska_oso_activity.script_host.child.channel import Channel, HostGone
from ska_oso_activity.script_host.child.confinement import Unconfined, confine
from ska_oso_activity.script_host.child.ending import (
    Ending,
    raised,
    refused,
    returned,
    unloadable,
)
from ska_oso_activity.script_host.child.interrupts import Interrupts
from ska_oso_activity.script_host.child.leaving import leave
from ska_oso_activity.script_host.child.loading import load
from ska_oso_activity.script_host.child.reports import Reporter, connect
from ska_oso_activity.script_host.child.streams import redirect
from ska_oso_activity.script_host.linux import adopt_orphans, die_with_parent
from ska_oso_activity.script_host.orders import BORN
from ska_oso_activity.script_host.outcome import Outcome

INTERRUPTED = 128 + 2
"""Exit code of a process that SIGINT ended before it had anything to say."""


REST_SECONDS = 0.005
"""How long a process waits for its script before it takes it that there is time."""


def main(
    control: int,
    packets: int,
    parent: int,
    while_waiting: Callable[[], object] | None = None,
) -> NoReturn:
    """Run one script for the host and end the process.

    Args:
        control: descriptor of the socket for messages.
        packets: descriptor of the socket for output.
        parent: the host's pid.
        while_waiting: called if there is time before the script comes.
    """
    die_with_parent(parent)
    adopt_orphans()
    interrupts = Interrupts()
    try:
        interrupts.begin()
        for fd in (control, packets):
            os.set_inheritable(fd, False)
        redirect(socket.socket(fileno=packets))
        faulthandler.enable(file=2)
        to_host = socket.socket(fileno=control)
        to_host.send(BORN)
        channel = Channel(to_host)
        if while_waiting is not None and not channel.has_news(REST_SECONDS):
            while_waiting()
            interrupts.check()
        order = channel.receive("load")
        gc.freeze()  # what is there now is not the script's
        ending = run_script(channel, order, interrupts, parent)
        interrupts.end()
    except KeyboardInterrupt:  # while no code of the script's was running
        leave(INTERRUPTED)
    except (HostGone, OSError):
        leave(1)
    channel.send(
        "outcome",
        outcome=ending.outcome.value,
        error=ending.error,
        stacktrace=ending.stacktrace,
        result=ending.result,
        message=ending.message,
        interrupted=interrupts.seen or ending.interrupted,
    )
    leave(ending.exit_code)


def run_script(
    channel: Channel, order: Mapping[str, Any], interrupts: Interrupts, host: int
) -> Ending:
    """Load, initialise, wait for the start, and run."""
    path = order["script_path"]
    platform = Platform(order.get("subarray_id"), order.get("block_path"))
    try:
        confine(order, host)
    except Unconfined as error:
        return refused(Outcome.UNCONFINED, str(error))
    connect(Reporter(channel, platform.subarray_id))
    if order.get("joins_states"):
        channel.require_state("LOADING", passed=["IDLE"])
    else:  # a host of an earlier release
        channel.require_state("IDLE")
        channel.require_state("LOADING")
    try:
        module = load(path)
    except BaseException as error:  # SystemExit too
        return unloadable(error, path)

    init = getattr(module, "init", None)
    if callable(init):
        channel.send_state("INITIALISING")
        try:
            arguments = init_arguments(init, Arguments.from_json(order.get("init") or {}), platform)
            check_call(init, "init", arguments)
            init(*arguments.args, **arguments.kwargs)
        except CannotCall as error:
            return refused(Outcome.RAISED, str(error))
        except BaseException as error:
            return raised(error, path)

    if not startable(module):  # known only now: init may have made main
        text = f"there is nothing to start: {path} has neither main nor run"
        return refused(Outcome.UNLOADABLE, text)
    channel.send_state("READY")
    start = channel.receive("start")
    name = str(start["function"])
    try:
        function = find_function(module, name)
        arguments = start_arguments(function, Arguments.from_json(start["args"]), platform)
        check_call(function, name, arguments)
    except CannotCall as error:
        return refused(Outcome.RAISED, str(error))
    channel.send_state("RUNNING")
    try:
        value = function(*arguments.args, **arguments.kwargs)
        interrupts.end()
    except BaseException as error:
        interrupts.end()
        return raised(error, path)
    return returned(value)
