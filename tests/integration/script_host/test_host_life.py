"""The host's own life: it outlives its servers, and takes its scripts along when it goes."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time

import pytest

from ska_oso_activity.domain.errors import ExecutorUnavailable, Reason
from ska_oso_activity.script_host.directory import HostDirectory, UnsafeDirectory
from tests.integration.script_host.house import MISBEHAVING, is_alive, wait_until
from tests.integration.script_host.recorder import Recorder

# --- Servers come and go


def test_nothing_is_lost_while_the_server_is_away(make_house, write_script):
    house = make_house()
    path = write_script(
        """
        import time
        from pathlib import Path
        from ska_oso_activity import script
        def main(away):
            while not Path(away).exists():
                time.sleep(0.01)
            for number in range(50):
                print("line", number)
                script.announce(f"message {number}")
            return "done"
        """
    )
    away = path.with_name("away")
    procedure_id = house.launch(path, args=[str(away)])
    prepared = house.launch(write_script("def main(): return 'ran'", "prepared.py"), function=None)
    house.heard.wait_state(procedure_id, "RUNNING")
    house.heard.wait_state(prepared, "READY")
    house.client.close()

    away.touch()
    wait_until((house.directory / "ends" / f"{procedure_id}.jsonl").exists, "the end")
    house.attach()
    end = house.heard.wait_end(procedure_id)

    assert house.heard.wait("attached").value == {procedure_id, prepared}
    assert (end.state, end.result) == ("COMPLETE", "done")
    assert house.texts(procedure_id) == [f"line {number}" for number in range(50)]
    assert house.heard.of(procedure_id, "message") == [("message", "message 49")]
    house.start(prepared)
    assert house.heard.wait_end(prepared).result == "ran"
    wait_until(lambda: not list((house.directory / "ends").iterdir()), "the acknowledgement")


def test_an_end_that_the_server_could_not_deal_with_is_told_to_the_next(make_house, write_script):
    house = make_house()

    def fail(procedure_id, end):
        Recorder.on_process_end(house.heard, procedure_id, end)
        raise RuntimeError("the server's disk is full")

    house.heard.on_process_end = fail
    procedure_id = house.launch(write_script("def main(): return 'done'"))
    house.heard.wait_end(procedure_id)
    house.client.close()

    house.attach()

    assert house.heard.wait_end(procedure_id).result == "done"


def test_a_second_server_takes_the_place_of_the_first(make_house, write_script):
    house = make_house()
    procedure_id = house.launch(MISBEHAVING / "sleeps.py")
    house.heard.wait_state(procedure_id, "RUNNING")
    first, first_heard = house.client, house.heard

    house.attach()
    wait_until(lambda: not first._thread.is_alive(), "the first client to give way")
    with pytest.raises(ExecutorUnavailable, match="another server"):
        first.stop(procedure_id, 1.0)
    house.client.stop(procedure_id, 1.0)

    assert house.heard.wait_end(procedure_id).state == "STOPPED"
    assert first_heard.of(procedure_id, "end") == []
    first.close()


def test_a_launch_that_comes_twice_launches_once(make_house, write_script):
    house = make_house()
    path = write_script("def main(): return 1")
    procedure_id = house.launch(path)
    house.heard.wait_end(procedure_id)

    house.ids = iter([procedure_id, procedure_id + 1])
    house.launch(path)
    house.run(path)

    assert len(house.heard.of(procedure_id, "end")) == 1
    assert house.heard.states(procedure_id).count("RUNNING") == 1


def test_two_clients_that_start_at_once_share_one_host(make_house, tmp_path):
    house = make_house()
    other = make_house()

    assert house.hosts == other.hosts
    other.client.close()


def test_a_launch_that_cannot_be_understood_fails_and_harms_nobody(make_house, write_script):
    house = make_house()
    attachment = house.client._attachment
    attachment.send({"kind": "launch", "procedure_id": 99})
    attachment.send({"kind": "launch"}, {"kind": "start"}, {"kind": "of a later release"})

    end = house.heard.wait_end(99)

    assert (end.state, end.reason) == ("FAILED", Reason.INTERNAL_ERROR)
    assert house.run(write_script("def main(): pass")).state == "COMPLETE"


# --- The host goes


def test_a_host_without_scripts_and_servers_ends_itself(make_house, write_script):
    house = make_house(idle_seconds=0.3)
    house.run(write_script("def main(): pass"))
    time.sleep(0.4)  # with a server it stays
    assert is_alive(house.pid)

    house.client.close()

    wait_until(lambda: not is_alive(house.pid), "the host to end")
    assert not (house.directory / "host.sock").exists()


def test_a_host_with_a_script_stays_without_a_server(make_house, write_script):
    house = make_house(idle_seconds=0.1)
    path = write_script("import time\ndef main(): time.sleep(0.5); return 'done'")
    procedure_id = house.launch(path)
    house.heard.wait_state(procedure_id, "RUNNING")

    house.client.close()
    wait_until(lambda: not is_alive(house.pid), "the host to end")
    house.attach()  # to another host, which knows what was not acknowledged

    assert house.heard.wait_end(procedure_id).result == "done"


def test_a_killed_host_takes_its_scripts_along(make_house, tmp_path):
    house = make_house()
    # Of the mark and the session, one is enough to be found by.
    pid_files = [tmp_path / "marked.pid", tmp_path / "in_session.pid"]
    daemons = [
        house.launch(
            MISBEHAVING / "daemonises.py",
            args=[str(pid_file)],
            kwargs={"forget_environment": unmarked, "new_session": not unmarked, "then": "sleep"},
        )
        for pid_file, unmarked in zip(pid_files, [False, True], strict=True)
    ]
    sleeper = house.launch(MISBEHAVING / "sleeps.py")
    pids = [house.heard.wait_state(each, "RUNNING") for each in [*daemons, sleeper]]
    wait_until(lambda: all(each.exists() and each.read_text() for each in pid_files), "daemons")
    pids += [int(each.read_text()) for each in pid_files]

    os.kill(house.pid, signal.SIGKILL)
    began = time.monotonic()
    heard = house.heard.wait("lost")

    assert not any(map(is_alive, pids))
    assert heard.at - began < 2.0
    house.wait_for_host(2)
    assert list((house.directory / "leaders").iterdir()) == []


def test_a_killed_host_is_followed_by_another(make_house, write_script):
    house = make_house()
    path = write_script("def main(): return 'ran'")
    assert house.run(path).result == "ran"

    os.kill(house.pid, signal.SIGKILL)
    house.heard.wait("lost")
    house.wait_for_host(2)

    assert house.run(path).result == "ran"


def test_an_end_that_a_killed_host_could_not_tell_is_told_before_its_loss(make_house, write_script):
    house = make_house()
    path = write_script("import time\ndef main(): time.sleep(0.2); return 'done'")
    procedure_id = house.launch(path)
    lost = house.launch(MISBEHAVING / "sleeps.py")
    house.heard.wait_state(procedure_id, "RUNNING")
    pid = house.heard.wait_state(lost, "RUNNING")
    house.client.close()
    wait_until((house.directory / "ends" / f"{procedure_id}.jsonl").exists, "the end")

    os.kill(house.pid, signal.SIGKILL)
    house.attach()

    assert house.heard.wait("attached").value == {procedure_id}
    assert house.heard.wait_end(procedure_id).result == "done"
    assert house.heard.of(lost) == []
    assert not is_alive(pid)


def test_a_host_that_is_asked_to_end_stops_its_scripts_first(make_house):
    house = make_house()
    procedure_id = house.launch_misbehaving("sleeps", until="sleeping")

    os.kill(house.pid, signal.SIGTERM)
    end = house.heard.wait_end(procedure_id)
    house.heard.wait("lost")
    house.wait_for_host(2)

    assert (end.state, end.reason) == ("STOPPED", Reason.STOPPED_BY_REQUEST)
    assert end.message == "the script host was asked to end"
    assert house.texts(procedure_id) == ["sleeping", "cleaned up"]


def test_a_host_is_known_again_by_a_server_that_was_restarted(make_house):
    names = []
    house = make_house(on_host=names.append)
    first_was_known = house.heard.same_host
    house.client.close()
    house.options["last_host"] = names[0]
    house.attach()
    second_was_known = house.heard.same_host
    os.kill(house.pid, signal.SIGKILL)
    house.wait_for_host(2)

    assert (first_was_known, second_was_known, house.heard.same_host) == (False, True, False)
    assert names == list(house.hosts)


def test_the_lifeline_ends_everything_at_once(make_house, tmp_path):
    reader, writer = os.pipe()
    house = make_house(lifeline_fd=reader)
    pid_file = tmp_path / "daemon.pid"
    stubborn = house.launch_misbehaving("ignores_signals", until="ignoring")
    daemon = house.launch(
        MISBEHAVING / "daemonises.py", args=[str(pid_file)], kwargs={"then": "sleep"}
    )
    pids = [house.heard.wait_state(each, "RUNNING") for each in (stubborn, daemon)]
    wait_until(lambda: pid_file.exists() and pid_file.read_text(), "the daemon")
    pids += [int(pid_file.read_text()), house.pid]
    house.client.close()  # its end would start another host

    began = time.monotonic()
    os.close(writer)
    wait_until(lambda: not any(map(is_alive, pids)), "everything to end")

    assert time.monotonic() - began < 3.0
    os.close(reader)


def test_a_host_that_takes_long_to_end_is_waited_for(make_house, write_script):
    house = make_house(warm=2)
    house.wait_warm(2)
    assert house.run(write_script("def main(): return 'ran'")).result == "ran"
    lock = house.client._directory.try_lock
    tries = []

    def try_lock():  # as long as the host that is ending had much to put away
        tries.append(time.monotonic())
        return lock() if tries[-1] - tries[0] > 0.7 else None

    house.client._directory.try_lock = try_lock
    os.kill(house.pid, signal.SIGTERM)

    house.heard.wait("lost")
    house.wait_for_host(2)


def test_the_last_word_of_a_host_that_cannot_be_answered_any_more_is_heard(
    make_house, write_script
):
    house = make_house(warm=1)
    lock = house.client._directory.try_lock
    tries = []

    def try_lock():
        tries.append(time.monotonic())
        return lock() if tries[-1] - tries[0] > 0.7 else None

    def outlive_the_host(procedure_id, end):
        Recorder.on_process_end(house.heard, procedure_id, end)
        os.kill(house.pid, signal.SIGTERM)
        wait_until(lambda: not is_alive(house.pid), "the host's end")

    house.client._directory.try_lock = try_lock
    house.heard.on_process_end = outlive_the_host
    house.launch(write_script("def main(): return 'ran'"))

    house.heard.wait("lost")
    assert tries, "the host was never seen to be gone"


# --- The host's start


def test_a_host_inherits_no_descriptors_and_no_signal_settings(make_house, write_script):
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    old = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        house = make_house()
    finally:
        signal.signal(signal.SIGCHLD, old)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    procedure_id = house.launch_misbehaving("sleeps", until="sleeping")
    house.client.stop(procedure_id, 3.0)
    end = house.heard.wait_end(procedure_id)

    os.close(writer)
    assert os.read(reader, 1) == b"", "the host holds the pipe open"
    os.close(reader)
    assert end.state == "STOPPED"


def test_the_directory_is_private_and_checked(make_house, tmp_path):
    house = make_house()
    assert stat.S_IMODE(house.directory.stat().st_mode) == 0o700

    open_to_all = tmp_path / "open"
    open_to_all.mkdir(mode=0o755)
    with pytest.raises(UnsafeDirectory, match="0700"):
        HostDirectory(open_to_all).create()


def test_a_second_host_for_a_directory_does_not_start(make_house):
    house = make_house()
    command = [sys.executable, "-m", "ska_oso_activity.script_host", "--directory", house.directory]

    second = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)

    assert second.returncode == 0
    assert "owns" in second.stderr
    assert is_alive(house.pid)


def test_a_host_that_cannot_start_is_told(tmp_path):
    from ska_oso_activity.adapters.host_client import HostClient

    (tmp_path / "file").write_text("")
    client = HostClient(tmp_path / "file" / "host", Recorder())
    client.open()

    with pytest.raises(ExecutorUnavailable, match="script host"):
        client.stop(1, 1.0)
    client.close()


# --- A server that is killed

SERVER = """
import json, os, sys, time
from pathlib import Path
from ska_oso_activity.adapters.host_client import HostClient
from ska_oso_activity.application.ports import ProcessSpec
from ska_oso_activity.domain.arguments import ProcedureInput

def tell(procedure_id, state):
    os.write(1, json.dumps([procedure_id, state]).encode() + b"\\n")

class Listener:
    def __getattr__(self, method):
        return lambda *args, **more: None
    def on_process_state(self, procedure_id, state, pid):
        tell(procedure_id, state)
    def on_process_end(self, procedure_id, end):
        tell(procedure_id, end.state)

client = HostClient(Path(sys.argv[1]), Listener())
client.open()
client.wait_for_contact()
for procedure_id in range(int(sys.argv[2]), 1_000_000):
    client.launch(ProcessSpec(procedure_id, sys.argv[3], ProcedureInput(), None, None))
    client.start(procedure_id, "main", ProcedureInput())
    tell(procedure_id, "LAUNCHED")
    time.sleep(0.05)
"""


def test_servers_that_are_killed_again_and_again_miss_nothing(make_house, write_script):
    house = make_house()
    house.client.close()
    script = write_script("import time\ndef main(): time.sleep(0.05)")
    told = []

    for server in range(4):
        command = [sys.executable, "-c", SERVER, house.directory, str(1000 * server), script]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            for line in process.stdout:
                told.append(json.loads(line))
                if len(told) >= 20 * (server + 1):
                    process.kill()  # what it has written by now is read all the same
    house.attach()
    launched = {procedure_id for procedure_id, state in told if state == "LAUNCHED"}
    for procedure_id in launched - {each for each, state in told if state == "COMPLETE"}:
        house.heard.wait_end(procedure_id)

    for procedure_id in launched:
        states = [state for each, state in told if each == procedure_id and state != "LAUNCHED"]
        states += house.heard.states(procedure_id)
        states += [end.state for _, end in house.heard.of(procedure_id, "end")]
        assert list(dict.fromkeys(states)) == ["IDLE", "LOADING", "READY", "RUNNING", "COMPLETE"]
