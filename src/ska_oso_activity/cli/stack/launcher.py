"""Starts the stack in order, keeps it running, and stops it in reverse order (cli)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ska_oso_activity.cli.stack.database import (
    database_program,
    listening_address,
    reserved_port,
)
from ska_oso_activity.cli.stack.description import Device, Places, Telescope, our_devices
from ska_oso_activity.cli.stack.farewell import stop_scripts
from ska_oso_activity.cli.stack.lifeline import Lifeline
from ska_oso_activity.cli.stack.program import Program
from ska_oso_activity.cli.stack.state_directory import StateDirectory
from ska_oso_activity.cli.stack.supervisor import StopRequested, Supervisor
from ska_oso_activity.cli.stack.tmc import Tmc
from ska_oso_activity.samples import ABORT_SCRIPT

START_LIMIT = 60.0
"""Seconds until the devices answer, on a busy machine."""
MODULES = {
    "ActivityDevice": "ska_oso_activity.devices.activity_device",
    "ScriptExecution": "ska_oso_activity.devices.script_execution",
    "TmcSimulator": "ska_oso_activity.simulators.server",
}
"""The program of each device server."""


@dataclass(frozen=True)
class Stack:
    """What to start, and where.

    Attributes:
        host: address to bind to.
        port: of the Tango database; 0 picks a free one.
        tmc: the simulators; None: there are none.
    """

    state: StateDirectory
    places: Places
    telescope: Telescope = Telescope.MID
    host: str = "127.0.0.1"
    port: int = 10000
    tmc: Tmc | None = None


@dataclass(frozen=True)
class Ready:
    """What clients need to know of a running stack."""

    tango_host: str
    activity: str
    script_execution: str
    tmc: tuple[str, ...] = ()


def run(stack: Stack, *, say: Callable[[str], None], ready: Callable[[Ready], None]) -> None:
    """Run the stack until a signal asks to stop; nothing of it is left afterwards.

    Args:
        say: told what an operator should know, a sentence at a time.
        ready: called once, when the devices answer.

    Raises:
        LaunchError: it did not start.
    """
    devices = our_devices(stack.telescope, stack.places)
    executor, activity = (device.name for device in devices)
    simulators = stack.tmc.devices() if stack.tmc else []
    if stack.tmc:
        devices[0] = stack.tmc.known_to(devices[0])
    devices = [*simulators, *devices]
    abort_script = stack.places.abort_script or (ABORT_SCRIPT if stack.tmc else None)
    with stack.state.occupied(), Supervisor(say) as supervisor, ExitStack() as running:
        if stack.places.oda == stack.state.default_oda:
            stack.places.oda.mkdir(exist_ok=True)
        try:
            host, port = _start_database(stack, supervisor, running)
            _register(f"{host}:{port}", devices, executor, abort_script)
            _start_servers(stack, supervisor, running, devices, f"{host}:{port}")
        except StopRequested:
            return
        names = tuple(device.name for device in simulators)
        ready(Ready(f"{host}:{port}", activity, executor, names))
        supervisor.supervise()
        say("stopping")
        stop_scripts(
            f"{host}:{port}", activity, executor, say=say, wait_until=supervisor.wait_until
        )


def _start_database(stack: Stack, supervisor: Supervisor, running: ExitStack) -> tuple[str, int]:
    """Start the Tango database; returns the host and port that clients use."""
    with reserved_port(stack.host, stack.port) as port:
        program = database_program(stack.state, stack.host, port)
        offset = program.log.stat().st_size if program.log.exists() else 0
        running.callback(supervisor.stop, supervisor.start(program))
        return supervisor.wait_for(
            lambda: listening_address(program.log, offset),
            otherwise="the Tango database is not up",
            seconds=START_LIMIT,
        )


def _register(
    tango_host: str, devices: list[Device], executor: str, abort_script: Path | None
) -> None:
    """Enter the devices into the database, so that the options of this start rule."""
    import tango

    from ska_oso_activity.cli.stack.registration import register, suggest_abort_script

    host, port = tango_host.rsplit(":", 1)
    database = tango.Database(host, int(port))
    register(database, devices)
    suggest_abort_script(database, executor, abort_script)


def _start_servers(
    stack: Stack,
    supervisor: Supervisor,
    running: ExitStack,
    devices: list[Device],
    tango_host: str,
) -> None:
    """Start the device servers and wait until their devices answer."""
    # Stopped in reverse: the servers; the script host, whose lifeline is cut; what is left of it.
    running.callback(supervisor.end_orphans)
    lifeline = running.enter_context(Lifeline())
    for device in {each.server: each for each in devices}.values():
        program = _server_program(stack, device, tango_host)
        if device.device_class == "ScriptExecution":
            environment = {**program.environment, **lifeline.environment()}
            program = replace(program, environment=environment, pass_fds=(lifeline.reader,))
        service = supervisor.start(program)
        running.callback(supervisor.stop, service)
    for device in devices:
        supervisor.wait_for(
            partial(_is_on, f"tango://{tango_host}/{device.name}"),
            otherwise=f"{device.name} is not ON",
            seconds=START_LIMIT,
        )


def _server_program(stack: Stack, device: Device, tango_host: str) -> Program:
    host = tango_host.rsplit(":", 1)[0]
    return Program(
        device.server,
        (
            *(sys.executable, "-m", MODULES[device.program_name], device.instance),
            *("-ORBendPoint", f"giop:tcp:{host}:0"),
        ),
        log=stack.state.log(device.program_name),
        directory=stack.state.path,
        environment={"TANGO_HOST": tango_host},
    )


def _is_on(device: str) -> bool:
    import tango

    try:
        # DISABLE: it is there, and its memorised adminMode takes no work.
        up = (tango.DevState.ON, tango.DevState.DISABLE)
        return tango.DeviceProxy(device).state() in up
    except tango.DevFailed:
        return False
