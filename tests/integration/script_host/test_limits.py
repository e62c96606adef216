"""What scripts may use, who they run as, and what they see of the server's environment."""

from __future__ import annotations

import os
import pwd
import signal
import time

import pytest

from ska_oso_activity.domain.errors import Reason
from ska_oso_activity.domain.limits import Limits
from tests.integration.script_host.house import MISBEHAVING, is_alive, wait_until

MIB = 1024 * 1024

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may change the user")


# --- Memory, time, files


def test_a_script_that_wants_more_memory_than_it_may_fails_alone(house, write_script):
    neighbour = house.launch(MISBEHAVING / "sleeps.py")
    house.heard.wait_state(neighbour, "RUNNING")

    end = house.misbehave("eats_memory", limits=Limits(address_space=1024 * MIB))

    assert (end.state, end.reason) == ("FAILED", Reason.SCRIPT_ERROR)
    assert end.error == "MemoryError"
    house.client.stop(neighbour, 3.0)
    assert house.heard.wait_end(neighbour).state == "STOPPED"


def test_memory_is_limited_to_what_was_said(house):
    few, more = (
        house.misbehave("eats_memory", True, limits=Limits(address_space=size * MIB)).result
        for size in (512, 1024)
    )

    assert 0 < few < 512 / 16
    assert few < more < 1024 / 16
    assert more - few == pytest.approx(512 / 16, abs=2)


def test_a_script_that_has_used_up_its_processor_time_is_ended_and_the_text_says_so(house):
    end = house.misbehave("burns", limits=Limits(cpu_seconds=1))

    assert (end.state, end.reason, end.signal) == ("FAILED", Reason.SCRIPT_DIED, signal.SIGXCPU)
    assert end.error == (
        "killed by signal 24 (SIGXCPU) in main: it had used up its 1 s of processor time"
    )


def test_a_script_that_ignores_that_is_killed_and_the_text_says_so(house):
    end = house.misbehave("burns", True, limits=Limits(cpu_seconds=1))

    assert (end.state, end.reason, end.signal) == ("FAILED", Reason.SCRIPT_DIED, signal.SIGKILL)
    assert end.error.endswith("it had used up its 1 s of processor time")


def test_a_script_may_have_so_many_files_open(house, write_script):
    path = write_script("def main(): return [open('/dev/null') for _ in range(100)] and 1")

    assert house.run(path, limits=Limits(open_files=200)).result == 1
    end = house.run(path, limits=Limits(open_files=64))

    assert end.reason == Reason.SCRIPT_ERROR
    assert "Too many open files" in end.error


def test_no_core_is_left_and_no_right_is_gained(house, write_script):
    path = write_script(
        """
        import resource
        def main():
            status = dict(line.split(":", 1) for line in open("/proc/self/status"))
            return [resource.getrlimit(resource.RLIMIT_CORE), status["NoNewPrivs"].strip()]
        """
    )

    assert house.run(path).result == [[0, 0], "1"]


def test_limits_of_one_script_are_not_those_of_the_next(house, write_script):
    path = write_script(
        """
        import resource
        def main():
            kinds = [resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_NOFILE]
            return [resource.getrlimit(kind) for kind in kinds]
        """
    )
    before = house.run(path).result
    limits = Limits(address_space=2048 * MIB, cpu_seconds=100, open_files=77)

    limited = house.run(path, limits=limits).result

    assert limited == [[2048 * MIB] * 2, [100, 102], [77, 77]]
    assert house.run(path).result == before


# --- Wall time


def test_a_script_that_has_used_up_its_wall_time_has_failed_with_a_time_out(house):
    began = time.monotonic()

    procedure_id = house.launch(MISBEHAVING / "sleeps.py", limits=Limits(wall_seconds=2.0))
    end = house.heard.wait_end(procedure_id)

    assert (end.state, end.reason) == ("FAILED", Reason.TIMEOUT)
    assert "2 s of wall time" in end.error
    assert 2.0 < time.monotonic() - began < 6.0
    assert house.texts(procedure_id) == ["sleeping", "cleaned up"]


def test_a_stubborn_script_is_killed_after_its_wall_time(house):
    end = house.misbehave("ignores_signals", limits=Limits(wall_seconds=0.2), grace=0.3)

    assert (end.state, end.reason) == ("FAILED", Reason.TIMEOUT)


def test_time_in_which_a_script_waits_to_be_started_does_not_count(house, write_script):
    path = write_script("import time\ndef main(): time.sleep(0.2); return 'ran'")
    procedure_id = house.launch(path, function=None, limits=Limits(wall_seconds=1.5))
    house.heard.wait_state(procedure_id, "READY")

    time.sleep(1.6)
    house.start(procedure_id)

    assert house.heard.wait_end(procedure_id).result == "ran"


def test_a_script_that_ends_in_time_is_complete(house, write_script):
    end = house.run(write_script("def main(): return 1"), limits=Limits(wall_seconds=5))

    assert (end.state, end.result) == ("COMPLETE", 1)


# --- Output


def test_the_newest_output_is_kept_up_to_the_bound(house):
    procedure_id = house.launch(
        MISBEHAVING / "floods.py", args=[4], limits=Limits(output_bytes=MIB)
    )
    house.heard.wait_end(procedure_id)

    kept = sum(each.stat().st_size for each in house.output_files(procedure_id))
    assert kept <= MIB + MIB / 16
    assert house.client.output_tail(procedure_id, 1)[0]["text"] == "end of flood"


# --- The user


@as_root
def test_a_script_runs_as_another_user(house, write_script, tmp_path):
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    path = write_script(
        """
        import os
        def main():
            try:
                open("/etc/shadow").close()
                reads = True
            except PermissionError:
                reads = False
            ids = [os.getresuid(), os.getresgid(), os.getgroups()]
            return [ids, os.environ["USER"], os.environ["HOME"], reads, os.listdir("/proc/self/fd")]
        """
    )
    nobody = pwd.getpwnam("nobody")

    end = house.run(path, limits=Limits(user="nobody"))

    assert end.state == "COMPLETE", end
    ids, user, home, reads, _ = end.result
    assert ids[:2] == [[nobody.pw_uid] * 3, [nobody.pw_gid] * 3]
    assert set(ids[2]) <= {nobody.pw_gid}
    assert (user, home, reads) == ("nobody", nobody.pw_dir, False)


@as_root
def test_a_script_of_another_user_is_stopped_with_all_it_started(house, tmp_path):
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    places = tmp_path / "places"
    places.mkdir()
    places.chmod(0o777)
    script = places / "daemonises.py"
    script.write_text((MISBEHAVING / "daemonises.py").read_text())
    pid_file = places / "daemon.pid"
    procedure_id = house.launch(
        script,
        args=[str(pid_file)],
        kwargs={"then": "sleep"},
        limits=Limits(user="nobody"),
    )
    wait_until(lambda: pid_file.exists() and pid_file.read_text(), "the daemon")

    house.client.stop(procedure_id, 0.5)

    assert house.heard.wait_end(procedure_id).state == "STOPPED"
    assert not is_alive(int(pid_file.read_text()))


@as_root
@pytest.mark.parametrize("warm", [2, -1])
def test_a_script_of_another_user_goes_with_its_host(make_house, write_script, tmp_path, warm):
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    house = make_house(warm=warm)
    house.wait_warm(max(0, warm))
    path = write_script("import time\ndef main(): time.sleep(1000)")
    procedure_id = house.launch(path, limits=Limits(user="nobody"))
    pid = house.heard.wait_state(procedure_id, "RUNNING")
    house.client.close()  # nobody is there to sweep

    os.kill(house.pid, signal.SIGKILL)

    wait_until(lambda: not is_alive(pid), "its end")


def test_a_script_that_cannot_be_confined_does_not_run(house, write_script, tmp_path):
    path = write_script(f"open({str(tmp_path / 'ran')!r}, 'w')\ndef main(): pass")

    end = house.run(path, limits=Limits(user="no such user"))

    assert (end.state, end.reason) == ("FAILED", Reason.ENVIRONMENT_ERROR)
    assert "no such user" in end.error
    assert not (tmp_path / "ran").exists()


# --- The environment

PASSED = {
    "LC_TIME": "C",
    "TZ": "UTC",
    "OMNIORB_CONFIG": "/nowhere",
    "ODA_BACKEND_TYPE": "filesystem",
    "PGPASSWORD": "the archive's own",
    "ADMIN_POSTGRES_PASSWORD": "the archive's own",
    "SKUID_URL": "http://skuid",
    "SKA_TELESCOPE": "SKA-mid",
    "CENTRALNODE_TRL": "mid-tmc/central-node/0",
    "SUBARRAYNODE_TRL_PREFIX": "mid-tmc/subarray",
    "https_proxy": "http://proxy",
    "OMP_NUM_THREADS": "2",
    "KUBE_NAMESPACE": "ska-oso",
}
KEPT_BACK = {
    "AWS_SECRET_ACCESS_KEY": "secret",
    "GITLAB_TOKEN": "secret",
    "MSENTRA_CLIENT_SECRET": "secret",
    "SKA_AUTH_TOKEN": "secret",
    "SKA_OSO_ACTIVITY_LIFELINE": "7",
    "DATABASE_PASSWORD": "secret",
    "KUBERNETES_SERVICE_HOST": "10.0.0.1",
    "SOMETHING": "else",
    "LD_PRELOAD_X": "secret",
}


@pytest.mark.parametrize("warm", [1, -1])
def test_scripts_see_what_they_need_of_the_servers_environment(
    make_house, write_script, monkeypatch, warm
):
    for name, value in {**PASSED, **KEPT_BACK}.items():
        monkeypatch.setenv(name, value)
    path = write_script(
        """
        import os, subprocess
        def main():
            shell = subprocess.run("env", shell=True, capture_output=True, text=True).stdout
            shown = open("/proc/self/environ").read()
            return [dict(os.environ), shell, shown]
        """
    )
    house = make_house(warm=warm)
    house.wait_warm(max(0, warm))

    variables, shell, shown = house.run(path, environment={"GIVEN_TOKEN": "on purpose"}).result

    assert {name: variables.get(name) for name in PASSED} == PASSED
    assert variables["GIVEN_TOKEN"] == "on purpose"
    assert variables["PATH"] == os.environ["PATH"]
    for name in KEPT_BACK:
        assert name not in variables
        assert f"{name}=" not in shell
        assert f"{name}=" not in shown
    assert "OPENBLAS_NUM_THREADS" not in variables


def test_what_a_restarted_server_has_new_is_seen(make_house, write_script, monkeypatch):
    house = make_house(warm=1)
    house.wait_warm(1)
    path = write_script("import os\ndef main(): return os.environ.get('TANGO_HOST')")
    house.client.close()

    monkeypatch.setenv("TANGO_HOST", "another.example:10000")
    house.attach()

    assert house.run(path).result == "another.example:10000"


def test_bad_input_b140_a_dump_of_the_environment_shows_no_secret(
    make_house, write_script, monkeypatch
):
    monkeypatch.setenv("DB_PASSWORD", "hunter2")
    monkeypatch.setenv("ODT_TOKEN", "hunter2")
    house = make_house(warm=1)

    procedure_id = house.launch(write_script("import os\ndef main(): print(dict(os.environ))"))
    end = house.heard.wait_end(procedure_id)

    assert end.state == "COMPLETE"
    assert "hunter2" not in " ".join(house.texts(procedure_id))
