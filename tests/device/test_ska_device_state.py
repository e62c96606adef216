"""State, modes and logging of an always-on SKA device."""

import importlib.util
import json
import re
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
import tango
from tango import DevState

from tests.device.client import Client, Recorder, failure, until
from tests.device.stack import ACTIVITY_DEVICE, SCRIPT_EXECUTION, Stack

DEVICES = (ACTIVITY_DEVICE, SCRIPT_EXECUTION)


@pytest.fixture(params=DEVICES)
def device(request, stack: Stack) -> Iterator[tango.DeviceProxy]:
    """One of the devices, put back to where it was."""
    proxy = tango.DeviceProxy(request.param)
    yield proxy
    if proxy.adminMode not in (0, 2):
        proxy.adminMode = "OFFLINE"
    proxy.adminMode = "ONLINE"
    until(lambda: proxy.state() != DevState.DISABLE, "a State")
    if proxy.state() != DevState.ON:
        proxy.On()
    for name in ("controlMode", "simulationMode", "testMode"):
        proxy.write_attribute(name, 0)
    proxy.loggingLevel = "INFO"
    proxy.loggingTargets = ["tango::logger"]


@contextmanager
def initialised_with(device: tango.DeviceProxy, name: str, *value: str) -> Iterator[None]:
    """The device after an Init with a property of this value; afterwards without."""
    database = tango.Database()
    database.put_device_property(device.dev_name(), {name: list(value)})
    try:
        device.Init()
        yield
    finally:
        database.delete_device_property(device.dev_name(), name)
        device.Init()


def results(recorder: Recorder) -> dict[str, list]:
    return {uid: json.loads(text) for uid, text in recorder.values("longRunningCommandResult")}


# --- On, Off, Standby, Reset


def test_on_of_a_device_that_is_on_is_refused(device: tango.DeviceProxy):
    [code], [text] = device.On()

    assert (code, text) == (5, "Device is already in ON state.")


@pytest.mark.parametrize(("command", "state"), [("Off", "OFF"), ("Standby", "STANDBY")])
def test_state_goes_where_it_is_sent_and_back(device: tango.DeviceProxy, command: str, state: str):
    with Recorder(
        device, "State", "Status", "commandedState", "longRunningCommandResult"
    ) as recorder:
        [code], [command_id] = device.command_inout(command)
        recorder.wait(lambda: command_id in results(recorder), "the result")
        [refused], [text] = device.command_inout(command)
        [_], [on_id] = device.On()
        recorder.wait(lambda: on_id in results(recorder), "the result")

    told = [(e.attribute, str(e.value)) for e in recorder.news() if "Result" not in e.attribute]
    assert code == 2
    assert told == [
        ("commandedState", state),
        ("State", state),
        ("Status", f"The device is in {state} state."),
        ("commandedState", "ON"),
        ("State", "ON"),
        ("Status", "The device is in ON state."),
    ]
    assert (refused, text) == (5, f"Device is already in {state} state.")
    assert results(recorder)[command_id] == [0, f"{command} command completed OK"]


def test_reset_leaves_state_alone_and_is_not_allowed_when_off(device: tango.DeviceProxy):
    [code], [command_id] = device.Reset()
    until(lambda: device.CheckLongRunningCommandStatus(command_id) == "COMPLETED", "the end")
    commanded = device.commandedState
    device.Off()
    until(lambda: device.state() == DevState.OFF, "OFF")

    error = failure(device.Reset)

    assert (code, commanded) == (2, "ON")
    assert error.reason == "API_CommandNotAllowed"
    assert "Command Reset not allowed when the device is in OFF state" in error.desc


@pytest.mark.parametrize("mode", ["OFFLINE", "NOT_FITTED"])
@pytest.mark.parametrize("command", ["On", "Off", "Standby", "Reset"])
def test_a_device_that_is_out_of_use_is_disabled(
    device: tango.DeviceProxy, mode: str, command: str
):
    device.adminMode = "OFFLINE"
    device.adminMode = mode
    until(lambda: device.state() == DevState.DISABLE, "DISABLE")

    error = failure(lambda: device.command_inout(command))

    assert error.reason == "API_CommandNotAllowed"
    assert f"Command {command} not allowed when the device is in DISABLE state" in error.desc
    assert device.status().startswith("The device is in DISABLE state.")


def test_off_and_standby_stop_nothing_and_work_is_taken_all_the_same(stack: Stack, client: Client):
    running = client.start(stack.block_of("sleeps.py"))
    try:
        for proxy in (client.device, client.executor):
            proxy.Off()
            proxy.Standby()
            until(lambda p=proxy: p.state() == DevState.STANDBY, "STANDBY")
        second = client.run(stack.block_of("takes_nothing.py"))
        state = client.get(running["activity_id"])["state"]
    finally:
        for proxy in (client.device, client.executor):
            proxy.On()
            until(lambda p=proxy: p.state() == DevState.ON, "ON")
    client.stop(activity_id=running["activity_id"])

    assert (state, second.states[-1]) == ("RUNNING", "SUCCEEDED")


# --- Modes


@pytest.mark.parametrize("name", ["controlMode", "simulationMode", "testMode"])
def test_a_mode_reads_as_written_and_is_told_once(device: tango.DeviceProxy, name: str):
    with Recorder(device, name) as recorder:
        device.write_attribute(name, 1)
        read = device.read_attribute(name).value
        device.write_attribute(name, 1)
        device.write_attribute(name, 0)
        recorder.wait(lambda: recorder.values(name)[-1:] == [0], "the last event")

    assert read == 1
    assert recorder.values(name) == [1, 0]


@pytest.mark.parametrize(
    "name", ["adminMode", "controlMode", "simulationMode", "testMode", "loggingLevel"]
)
def test_a_value_out_of_range_is_refused(device: tango.DeviceProxy, name: str):
    before = device.read_attribute(name).value

    error = failure(lambda: device.write_attribute(name, 17))

    assert error.reason == "API_WAttrOutsideLimit"
    assert device.read_attribute(name).value == before


@pytest.mark.parametrize("name", ["adminMode", "testMode", "loggingLevel"])
def test_a_mode_reads_as_it_was_last_written(fragile_stack: Stack, name: str):
    device = tango.DeviceProxy(ACTIVITY_DEVICE)
    at_first = int(device.read_attribute(name).value)
    other = 1
    over = threading.Event()

    def keep_publishing() -> None:
        with tango.EnsureOmniThread():
            busy = tango.DeviceProxy(ACTIVITY_DEVICE)
            while not over.is_set():
                busy.DescribeSchedulingBlock("sbd-that-is-not-there")

    thread = threading.Thread(target=keep_publishing)
    read = []
    with Recorder(device, name, "State", "Status", "lrcFinished", "_lrcEvent") as recorder:
        thread.start()
        try:
            for _ in range(300):
                for mode in (other, at_first, other):
                    device.write_attribute(name, mode)
                read.append(int(device.read_attribute(name).value))
                device.write_attribute(name, at_first)
        finally:
            over.set()
            thread.join()
        recorder.wait(lambda: len(recorder.values(name)) >= 4 * 300, "the last event")
    told = recorder.values(name)

    assert set(read) == {other}
    assert [(one, two) for one, two in pairwise([at_first, *told]) if one == two] == []


@pytest.mark.parametrize("name", DEVICES)
def test_init_tells_no_mode_that_stays(fragile_stack: Stack, name: str):
    device = tango.DeviceProxy(name)
    with Recorder(device, "adminMode", "testMode", "serverStartedAt") as recorder:
        device.Init()
        recorder.wait(lambda: recorder.values("serverStartedAt"), "the end of Init")
        for mode in (1, 0):
            device.adminMode = mode
            device.testMode = mode
        recorder.wait(lambda: recorder.values("testMode")[-1:] == [0], "the last event")

    assert recorder.values("adminMode") == [1, 0]
    assert recorder.values("testMode") == [1, 0]


def test_admin_mode_changes_only_as_the_table_says(device: tango.DeviceProxy):
    error = failure(lambda: device.write_attribute("adminMode", 3))

    assert error.reason == "PyDs_PythonError"
    assert "StateModelError" in error.desc
    assert device.adminMode == 0


def test_modes_outlive_an_init(fragile_stack: Stack):
    proxy = tango.DeviceProxy(SCRIPT_EXECUTION)
    # From ONLINE, where an Init begins, NOT_FITTED could not be written.
    written = {"controlMode": 1, "simulationMode": 1, "testMode": 1, "adminMode": 3}
    proxy.adminMode = "OFFLINE"
    for name, value in written.items():
        proxy.write_attribute(name, value)
    try:
        proxy.Init()
        remembered = {name: int(proxy.read_attribute(name).value) for name in written}
        until(lambda: proxy.state() == DevState.DISABLE, "DISABLE")
    finally:
        proxy.adminMode = "OFFLINE"
        for name in written:
            proxy.write_attribute(name, 0)

    assert remembered == written


# --- Abort


@pytest.mark.parametrize("command", ["Abort", "AbortCommands"])
def test_abort_answers_started(device: tango.DeviceProxy, command: str):
    with Recorder(device, "_lrcEvent", "longRunningCommandResult") as recorder:
        [code], [text] = device.command_inout(command)
        if command == "AbortCommands":
            assert (code, text) == (1, "Aborting commands")
            return
        recorder.wait(lambda: text in results(recorder), "the result")
        recorder.wait(lambda: "5" in recorder.values("_lrcEvent")[-1][1], "COMPLETED")

    told = [json.loads(news)["status"] for uid, news in recorder.values("_lrcEvent") if uid == text]
    assert code == 1
    assert text.endswith("_Abort")
    assert told == [0, 2, 5]  # STAGING, IN_PROGRESS, COMPLETED: it never queues
    assert results(recorder)[text] == [0, "Abort completed OK"]


# --- Logging

LINE = re.compile(
    r"1\|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\|(?P<level>[A-Z]+)\|[^|]*\|[^|]*\|[^|]*#\d+"
    r"\|(?P<tags>[^|]*)\|(?P<message>.*)"
)


def refused(device: tango.DeviceProxy) -> None:
    """Have the device log something: a refusal is audited, as a WARNING."""
    name = "GetActivity" if device.dev_name() == ACTIVITY_DEVICE else "GetProcess"
    failure(lambda: device.command_inout(name, "no\nsuch" if name == "GetActivity" else 10**15))


def test_a_log_file_gets_lines_in_the_format_of_ska(device: tango.DeviceProxy, tmp_path: Path):
    path = tmp_path / "device.log"
    device.loggingTargets = [f"file::{path}"]

    refused(device)

    until(path.read_text, "a line in the log")
    lines = path.read_text().splitlines()
    found = LINE.fullmatch(lines[0])
    assert all(map(LINE.fullmatch, lines)), lines
    assert found is not None
    assert found["level"] == "WARNING"
    assert found["tags"] == f"tango-device:{device.dev_name()}"
    assert "refused Get" in found["message"]
    assert list(device.loggingTargets) == [f"file::{path}"]


def test_what_a_script_logs_is_tagged_with_its_activity_and_cannot_forge_a_line(
    stack: Stack, client: Client, tmp_path: Path
):
    path = tmp_path / "device.log"
    script = stack.write_script(
        "import logging\n"
        "def main():\n"
        "    logging.getLogger('mine').warning('seen\\x1b[2J by the sky')\n"
    )
    client.executor.loggingTargets = [f"file::{path}"]
    try:
        run = client.run(stack.block({"observe": stack.activity(script)}))
        until(lambda: "by the sky" in path.read_text(), "the script's line in the log")
    finally:
        client.executor.loggingTargets = ["tango::logger"]

    (line,) = [each for each in path.read_text().splitlines() if "by the sky" in each]
    found = LINE.fullmatch(line)
    assert found is not None
    assert found["level"] == "WARNING"
    activity = run.activity
    tags = f"activity:{activity['activity_id']},procedure:{activity['procedure_id']}"
    assert found["tags"] == tags
    assert "mine: seen" in found["message"]
    assert "\x1b" not in line


def test_the_logging_level_holds_back_what_is_less_serious(
    device: tango.DeviceProxy, tmp_path: Path
):
    path = tmp_path / "device.log"
    device.loggingTargets = [f"file::{path}"]
    device.loggingLevel = "ERROR"
    refused(device)
    held_back = path.read_text()
    device.loggingLevel = "WARNING"
    refused(device)

    until(path.read_text, "a line in the log")
    assert held_back == ""
    assert device.loggingLevel == 3


def test_a_console_target_takes_the_place_of_stderr(device: tango.DeviceProxy, stack: Stack):
    """The launcher writes what a server says on either to one file."""
    log = stack.directory / "state" / "logs" / f"{device.info().dev_class}.log"
    size = log.stat().st_size
    device.loggingTargets = ["console"]

    refused(device)
    device.loggingTargets = ["file::to-be-sure.log"]
    refused(device)

    def lines() -> list[str]:
        return log.read_bytes()[size:].decode().splitlines()

    until(lambda: len(lines()) >= 2, "two lines on the console")
    assert [line.count("refused Get") for line in lines()] == [1, 1]


def test_tango_has_the_log_for_its_consumers(device: tango.DeviceProxy, tmp_path: Path):
    path = tmp_path / "tango.log"
    admin = tango.DeviceProxy(device.adm_name())
    admin.AddLoggingTarget([device.dev_name(), f"file::{path}"])
    try:
        refused(device)
        until(lambda: path.exists() and "</log4j:event>" in path.read_text(), "a line of the log")
    finally:
        admin.RemoveLoggingTarget([device.dev_name(), f"file::{path}"])

    assert "|WARNING|" in path.read_text()
    assert "refused Get" in path.read_text()


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_syslog_server_gets_the_log(device: tango.DeviceProxy, kind: socket.SocketKind):
    with socket.socket(socket.AF_INET, kind) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        scheme = "udp" if kind == socket.SOCK_DGRAM else "tcp"
        if scheme == "tcp":
            server.listen()
        device.loggingTargets = [f"syslog::{scheme}://127.0.0.1:{server.getsockname()[1]}"]

        refused(device)

        if scheme == "tcp":
            connection = server.accept()[0]
            with connection:
                connection.settimeout(10)
                text = connection.recv(10_000)
        else:
            text = server.recv(10_000)
    assert re.match(rb"<\d+>1\|", text)
    assert b"refused Get" in text


def test_a_unix_socket_of_a_syslog_server_gets_the_log(device: tango.DeviceProxy):
    path = f"/tmp/oso-{uuid.uuid4().hex[:8]}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(path)
        server.settimeout(10)
        try:
            device.loggingTargets = [f"syslog::file://{path}"]
            refused(device)
            text = server.recv(10_000)
        finally:
            Path(path).unlink()
    assert b"refused Get" in text


def test_a_syslog_server_that_hangs_does_not_hang_the_device(fragile_stack: Stack):
    device = tango.DeviceProxy(ACTIVITY_DEVICE)
    before = list(device.loggingTargets)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)  # takes one connection, and lets the next ones wait
        target = f"syslog::tcp://127.0.0.1:{server.getsockname()[1]}"
        # All in the time that any client gives a call, so that others get theirs in too.
        device.loggingTargets = [target]
        device.loggingTargets = before
        error = failure(lambda: device.write_attribute("loggingTargets", [target]))
        with initialised_with(device, "LoggingTargetsDefault", target):
            until(lambda: int(device.healthState) != 0, "healthState")
            status = device.status()
    until(lambda: int(device.healthState) == 0, "healthState")

    assert error.reason == "PyDs_PythonError"
    assert f"{target} cannot be used: it has not answered" in error.desc
    assert f"{target} cannot be used: it has not answered" in status
    assert list(device.loggingTargets) == before


def test_a_syslog_server_gets_the_log_again_when_it_is_back(fragile_stack: Stack):
    device = tango.DeviceProxy(ACTIVITY_DEVICE)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(0.1)
        device.loggingTargets = [f"syslog::tcp://127.0.0.1:{server.getsockname()[1]}"]
        server.accept()[0].close()

        def connected_again() -> socket.socket | None:
            refused(device)
            try:
                return server.accept()[0]
            except TimeoutError:
                return None

        with until(connected_again, "another connection") as connection:
            connection.settimeout(10)
            text = connection.recv(10_000)
        device.loggingTargets = ["tango::logger"]

    assert b"refused Get" in text


def test_targets_are_read_back_in_full(device: tango.DeviceProxy, stack: Stack):
    device.loggingTargets = ["console", "tango", "file"]

    name = device.dev_name().replace("/", "_")
    assert list(device.loggingTargets) == ["console::cout", "tango::logger", f"file::{name}.log"]


def test_a_device_may_log_nowhere(device: tango.DeviceProxy):
    device.loggingTargets = [""]

    assert not device.loggingTargets


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("mail::me", "possible are"),
        ("console::cerr", "console::cout is"),
        ("syslog", "names its server"),
        ("syslog::udp://", "names its server"),
        ("syslog::tcp://127.0.0.1:1", "cannot be used"),
        ("syslog::file:///no/such/socket", "no socket"),
        ("file::/no/such/folder/x.log", "cannot be used"),
        ("file::/etc/passwd", "not a log of ours"),
        ("file::/dev/null", "is no file"),
    ],
)
def test_a_bad_target_is_refused_and_nothing_changes(
    device: tango.DeviceProxy, target: str, says: str
):
    error = failure(lambda: device.write_attribute("loggingTargets", ["tango::logger", target]))

    assert says in error.desc
    assert list(device.loggingTargets) == ["tango::logger"]


def test_a_property_enables_a_debugger_on_this_machine_only(fragile_stack: Stack):
    proxy = tango.DeviceProxy(SCRIPT_EXECUTION)
    with initialised_with(proxy, "DebugPort", "5679"):
        info = proxy.get_command_config("DebugDevice")
        if importlib.util.find_spec("debugpy") is None:
            error = failure(proxy.DebugDevice)
            assert (error.reason, "install it" in error.desc) == ("DEBUGGER_MISSING", True)
        else:
            assert proxy.DebugDevice() == 5679

    assert info.out_type == tango.CmdArgType.DevUShort


def test_there_is_no_debugger_any_longer_after_an_init_without_its_port(fragile_stack: Stack):
    proxy = tango.DeviceProxy(SCRIPT_EXECUTION)
    for _ in range(2):
        with initialised_with(proxy, "DebugPort", "5679"):
            assert "DebugDevice" in proxy.get_command_list()

        assert "DebugDevice" not in proxy.get_command_list()
        assert failure(lambda: proxy.command_inout("DebugDevice")).reason == "API_CommandNotFound"


@pytest.mark.parametrize("port", ["70000", "-5"])
def test_a_port_that_is_none_enables_no_debugger_and_status_says_so(
    fragile_stack: Stack, port: str
):
    proxy = tango.DeviceProxy(SCRIPT_EXECUTION)
    with initialised_with(proxy, "DebugPort", port):
        until(lambda: int(proxy.healthState) != 0, "healthState")
        status = proxy.status()
        offered = "DebugDevice" in proxy.get_command_list()

    assert f"debugging: property DebugPort is {port}" in status
    assert "1 to 65535" in status
    assert not offered
