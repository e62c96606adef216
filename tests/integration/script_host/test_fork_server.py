"""The fork server and the processes that wait: alike, apart, and never without a stand-in."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ska_oso_activity.script_host.environment import MARK
from tests.integration.script_host.house import MISBEHAVING, is_alive, name_of, wait_until

TANGO_SERVER = Path(__file__).with_name("tango_server.py")

WARM = 4


@pytest.fixture
def warm_house(make_house):
    """A host of the test's own, with its processes waiting."""
    house = make_house(warm=WARM)
    house.wait_warm(WARM)
    return house


def was_forked(house, procedure_id):
    """Whether a script's process came from the fork server."""
    log = (house.directory / "host.log").read_text()
    assert f"procedure {procedure_id}: " in log
    return not re.search(rf"procedure {procedure_id} starts as a fresh", log)


FORKED = """
    import sys
    FORKED = "tango" in sys.modules
    def main():
        return FORKED
"""
"""A script that tells whether it came from the fork server."""


# --- Alike


FACTS = """
    import asyncio, atexit, faulthandler, gc, inspect, locale, logging, os, signal, sys, threading
    import multiprocessing, resource, socket, traceback, warnings
    LOADED_IN = dict(name=__name__, file=__file__, cwd=os.getcwd(), spec=str(type(__spec__)))

    def fail():
        raise ValueError("on purpose")

    def main():
        try:
            fail()
        except ValueError:
            trace = traceback.format_exc()
        thread = threading.main_thread()
        variables = dict(os.environ)
        del variables["SKA_OSO_ACTIVITY_PROCEDURE"]
        limits = [name for name in dir(resource) if name.startswith("RLIMIT_")]
        return dict(
            loaded_in=LOADED_IN,
            source=inspect.getsource(fail),
            trace=trace[trace.index("in fail"):],
            path=sys.path,
            argv=sys.argv,
            executable=[sys.executable, sys.prefix, sys.base_prefix],
            flags=str(sys.flags),
            encoding=[sys.stdout.encoding, sys.stdin.encoding, locale.getpreferredencoding()],
            names=[sys.stdout.fileno(), sys.stdin.fileno(), sys.stdout is sys.__stdout__],
            main_module=sys.modules["__main__"].__file__,
            threads=[thread.name, thread.ident == threading.get_ident(), threading.active_count()],
            native=[thread.native_id == os.getpid(), len(os.listdir("/proc/self/task"))],
            processes=[multiprocessing.current_process().name, multiprocessing.parent_process()],
            dispositions={n.name: repr(signal.getsignal(n))[:30] for n in signal.Signals},
            mask=len(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
            collector=[gc.isenabled(), gc.get_threshold()],
            crashes=faulthandler.is_enabled(),
            logging=[logging.getLogger().level, str(logging.getLogger().handlers)],
            loop=str(type(asyncio.new_event_loop())),
            filters=[f for f in map(str, warnings.filters) if "numpy" not in f],
            umask=os.umask(0),
            ids=[os.getuid(), os.getgid(), os.getgroups(), os.nice(0)],
            leads=os.getsid(0) == os.getpgid(0) == os.getpid(),
            limits={name: resource.getrlimit(getattr(resource, name)) for name in limits},
            rights=[
                line for line in open("/proc/self/status")
                if line.startswith(("NoNewPrivs", "Sig", "Shd", "Cap", "Seccomp:"))
                and not line.startswith("SigQ")  # counts signals of all processes of the user
            ],
            variables=variables,
            children=os.path.exists("/proc/self/task") and open(
                f"/proc/self/task/{os.getpid()}/children").read(),
            title=open("/proc/self/comm").read().split()[0],
        )
"""


def test_a_forked_process_is_as_a_fresh_interpreter(warm_house, make_house, write_script):
    path = write_script(FACTS, "tells_all.py")
    fresh = make_house("fresh", warm=-1)

    forked, expected = warm_house.run(path), fresh.run(path)

    assert forked.error is None
    assert forked.result == expected.result


def test_files_that_a_script_leaves_open_are_written_out(house, write_script):
    path = write_script(
        """
        import gzip, io, tempfile
        from pathlib import Path
        HERE = Path(__file__).parent
        TEXT = open(HERE / "text", "w")
        BINARY = open(HERE / "binary", "wb")
        PACKED = gzip.open(HERE / "packed.gz", "wt")
        RAW_PACKED = gzip.open(HERE / "raw.gz", "wb")
        FOLDER = tempfile.TemporaryDirectory()
        class Kept:
            pass
        def main():
            keep = Kept()
            keep.myself = keep
            keep.file = open(HERE / "kept", "w")
            keep.file.write("kept")
            TEXT.write("text")
            BINARY.write(b"binary")
            PACKED.write("packed")
            RAW_PACKED.write(b"raw")
            return FOLDER.name
        """
    )

    end = house.run(path)

    import gzip

    folder = path.parent
    assert end.state == "COMPLETE"
    assert [(folder / name).read_text() for name in ("text", "binary", "kept")] == [
        "text",
        "binary",
        "kept",
    ]
    assert gzip.decompress((folder / "packed.gz").read_bytes()) == b"packed"
    assert gzip.decompress((folder / "raw.gz").read_bytes()) == b"raw"
    assert not Path(end.result).exists()


def test_a_script_ends_as_a_python_program_does(house, write_script):
    path = write_script(
        """
        import atexit, concurrent.futures, threading, time, weakref
        POOL = concurrent.futures.ThreadPoolExecutor()
        class Thing: pass
        THING = Thing()
        def later(text, seconds):
            time.sleep(seconds)
            print(text)
        def fail():
            raise RuntimeError("at exit, on purpose")
        def main():
            atexit.register(print, "last")
            atexit.register(fail)
            atexit.register(print, "before the last")
            weakref.finalize(THING, print, "finalised")
            threading.Thread(target=later, args=("thread", 0.1)).start()
            threading.Thread(target=later, args=("daemon", 100), daemon=True).start()
            POOL.submit(later, "from the pool", 0.05)
        """
    )

    procedure_id = house.launch(path, grace=10.0)
    end = house.heard.wait_end(procedure_id)
    texts = house.texts(procedure_id)

    assert (end.state, end.exit_code) == ("COMPLETE", 0)
    told = [text for text in texts if text in ("from the pool", "thread", "finalised", "last")]
    assert told[:2] == ["from the pool", "thread"]
    assert set(told[2:]) == {"finalised", "last"}
    assert any("at exit, on purpose" in text for text in texts)
    assert texts.index("before the last") < texts.index("last")


def test_a_module_in_the_scripts_folder_is_found_before_one_that_is_loaded(
    warm_house, write_script
):
    path = write_script("import packaging\ndef main(): return packaging.WHOSE")
    path.with_name("packaging.py").write_text("WHOSE = 'ours'")

    first = warm_house.run(path)
    second = warm_house.run(path)

    assert (first.result, second.result) == ("ours", "ours")
    log = (warm_house.directory / "host.log").read_text()
    assert log.count("its folder has a module packaging") == 1


def test_a_package_in_the_scripts_folder_too_but_no_plain_folder(warm_house, write_script):
    path = write_script(
        "import numbers, sys\ndef main(): return [numbers.__file__, 'tango' in sys.modules]"
    )
    (path.parent / "tango").mkdir()
    assert warm_house.run(path).result[1]

    (path.parent / "numbers").mkdir()
    (path.parent / "numbers" / "__init__.py").write_text("")
    result = warm_house.run(path).result

    assert result == [str(path.parent / "numbers" / "__init__.py"), False]


def test_variables_that_an_interpreter_reads_at_its_start_are_heeded(warm_house, write_script):
    path = write_script("def main(): return hash('same')")
    environment = {"PYTHONHASHSEED": "7"}

    hashes = {warm_house.run(path, environment=environment).result for _ in range(3)}

    assert len(hashes) == 1
    assert warm_house.run(path).result not in hashes


def test_the_time_zone_asked_for_counts(warm_house, write_script):
    path = write_script("import time\ndef main(): return time.tzname")

    assert warm_house.run(path, environment={"TZ": "AWST-8"}).result == ["AWST", "AWST"]


# --- Apart


def test_a_script_sees_nothing_of_another(warm_house, write_script):
    text = """
        import os, random, sys, multiprocessing, numpy, numpy.random
        def main():
            seen = dict(
                module=[name for name in sys.modules if name.startswith("script_of_")],
                variable=[name for name in os.environ if name.startswith("OF_SCRIPT_")],
                built_in=hasattr(os, "left_behind"),
                python=random.random(),
                numpy=numpy.random.random(),
                generator=numpy.random.default_rng().random(),
                secret=multiprocessing.current_process().authkey.hex(),
                umask=os.umask(0o077),
                descriptors={},
            )
            for fd in os.listdir("/proc/self/fd"):
                try:
                    seen["descriptors"][fd] = os.readlink(f"/proc/self/fd/{fd}")
                except OSError:
                    pass
            os.left_behind = True
            os.environ["OF_SCRIPT_X"] = "x"
            return seen
    """
    paths = [write_script(text, f"script_of_{name}.py") for name in "abcdef"]

    ids = [warm_house.launch(path) for path in paths]
    results = [warm_house.heard.wait_end(procedure_id).result for procedure_id in ids]

    for result, path in zip(results, paths, strict=True):
        assert result["module"] == [path.stem]
        assert (result["variable"], result["built_in"], result["umask"]) == ([], False, 0o022)
    for kind in ("python", "numpy", "generator", "secret"):
        assert len({result[kind] for result in results}) == len(results), kind
    opened = [set(result["descriptors"].values()) - {"/dev/null"} for result in results]
    assert all(what.startswith(("pipe:", "socket:", "/proc/")) for each in opened for what in each)
    channels = [{what for what in each if not what.startswith("/proc/")} for each in opened]
    for number, one in enumerate(channels):
        for other in channels[number + 1 :]:
            assert not one & other


def test_processes_that_wait_share_no_channels(warm_house):
    channels = {}
    for pid in warm_house.helpers():
        links = [
            what for fd, what in descriptors(pid).items() if fd > 2 or pid in warm_house.waiting()
        ]
        channels[pid] = {link for link in links if link != "/dev/null"}

    waiting = warm_house.waiting()
    for pid in waiting:
        for other in channels.keys() - {pid}:
            assert not channels[pid] & channels[other], (name_of(pid), name_of(other))


def test_the_mark_and_the_title_are_those_of_the_script(warm_house, write_script):
    path = write_script(
        """
        import os, subprocess, sys
        def main():
            child = os.fork()
            if child == 0:
                environ = open("/proc/self/environ").read()
                print(*[each for each in environ.split(chr(0)) if "PROCEDURE" in each])
                os._exit(0)
            os.waitpid(child, 0)
            find = "grep -ao 'SKA_OSO_[^=]*=[^:]*:[0-9]*'"
            subprocess.run(f"cat /proc/self/environ | {find}", shell=True)
            return open("/proc/self/cmdline").read().strip(chr(0))
        """
    )

    procedure_id = warm_house.launch(path)
    end = warm_house.heard.wait_end(procedure_id)

    mark = f"SKA_OSO_ACTIVITY_PROCEDURE={next(iter(warm_house.hosts))}:{procedure_id}"
    assert warm_house.texts(procedure_id) == [mark, mark]
    assert end.result.startswith(f"script {procedure_id}: {path}"[:40])


# --- Tango


@pytest.fixture(scope="module")
def device():
    """The address of a device in a server of its own."""
    with subprocess.Popen(
        [sys.executable, TANGO_SERVER], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout
        address = server.stdout.readline().strip()
        yield address
        server.kill()


TALKS = """
    import tango
    def main(address):
        device = tango.DeviceProxy(address)
        heard = []
        event = device.subscribe_event("count", tango.EventType.CHANGE_EVENT, heard.append)
        before = device.count
        answer = device.command_inout("Add", 1)
        device.unsubscribe_event(event)
        return [answer > before, len(heard) > 0, heard[0].err]
"""


@pytest.mark.parametrize("warm", [4, 0])
def test_scripts_talk_to_devices_one_after_the_other(make_house, write_script, device, warm):
    house = make_house(warm=warm)
    house.wait_fork_server()
    house.wait_warm(warm)
    path = write_script(TALKS)

    for _ in range(50 if warm else 10):
        end = house.run(path, args=[device])
        assert (end.state, end.result, end.message) == ("COMPLETE", [True, True, False], ""), end


def test_scripts_talk_to_devices_eight_at_a_time(warm_house, write_script, device):
    path = write_script(TALKS)

    for _ in range(4):
        ids = [warm_house.launch(path, args=[device]) for _ in range(8)]
        ends = [warm_house.heard.wait_end(procedure_id) for procedure_id in ids]

        assert [(end.state, end.result) for end in ends] == [("COMPLETE", [True, True, False])] * 8


# --- What waits, and who stands in


def test_where_none_waits_a_process_is_forked_on_demand(make_house, write_script):
    house = make_house(warm=0)
    house.wait_fork_server()
    path = write_script(FORKED)

    ids = [house.launch(path) for _ in range(6)]

    assert all(house.heard.wait_end(procedure_id).result for procedure_id in ids)
    assert house.waiting() == []


def test_a_process_that_was_taken_is_replaced(warm_house, write_script):
    before = set(warm_house.waiting())

    assert warm_house.run(write_script(FORKED)).result
    warm_house.wait_warm(WARM)

    assert len(set(warm_house.waiting()) & before) == WARM - 1


def test_a_process_that_dies_while_it_waits_is_replaced(warm_house):
    victims = warm_house.waiting()[:2]

    for pid in victims:
        os.kill(pid, signal.SIGKILL)

    wait_until(
        lambda: len(warm_house.waiting()) == WARM and not set(victims) & set(warm_house.waiting()),
        "others in their place",
    )
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in victims), "their burial")


def test_a_dead_process_is_not_given_to_a_script(warm_house, write_script):
    path = write_script("def main(): return 'ran'")

    victims = warm_house.waiting()
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, victims)), "their death")
    end = warm_house.run(path)

    assert (end.state, end.result) == ("COMPLETE", "ran")


def test_without_a_fork_server_scripts_are_fresh_interpreters(make_house, write_script):
    house = make_house(warm=-1)

    assert house.run(write_script(FORKED)).result is False
    assert house.helpers() == []


def test_a_fork_server_that_cannot_be_forked_safely_is_not_used(
    make_house, write_script, monkeypatch
):
    path = write_script(FORKED)
    thread = "threading.Thread(target=time.sleep, args=(99,), daemon=True)"
    text = f"import threading, time\n{thread}.start()"
    write_script(text, "numpy.py")  # which the fork server imports
    monkeypatch.setenv("PYTHONPATH", str(path.parent))
    house = make_house(warm=2)
    log = house.directory / "host.log"

    wait_until(lambda: "the fork server is of no use" in log.read_text(), "the refusal")
    ends = [house.run(path) for _ in range(3)]

    assert [end.result for end in ends] == [False] * 3
    assert "it has 2 threads, and cannot be forked" in log.read_text()
    assert log.read_text().count("the fork server is of no use") == 1
    assert house.helpers() == []


def test_without_tango_and_numpy_processes_wait_all_the_same(make_house, write_script, monkeypatch):
    path = write_script("import os\ndef main(): return os.getpid()")
    for name in ("numpy.py", "tango.py"):
        write_script("raise ImportError('it is not installed')", name)
    folder = path.parent / "scripts"
    folder.mkdir()
    path = path.rename(folder / path.name)
    monkeypatch.setenv("PYTHONPATH", str(folder.parent))
    house = make_house(warm=2)
    house.wait_warm(2)
    waiting = house.waiting()

    assert house.run(path).result in waiting


def test_a_server_may_ask_for_another_number(warm_house, write_script):
    warm_house.client.close()

    for warm, expected in ((6, 6), (1, 1), (-1, 0), (2, 2)):
        warm_house.options["warm"] = warm
        warm_house.attach()
        wait_until(lambda expected=expected: len(warm_house.waiting()) == expected, "the number")
        warm_house.client.close()
    warm_house.attach()

    assert warm_house.run(write_script(FORKED)).result


def test_a_fork_server_that_is_killed_is_stood_in_for_and_comes_back(warm_house, write_script):
    path = write_script(FORKED)
    first = warm_house.fork_server()

    os.kill(first, signal.SIGKILL)
    ends = [warm_house.run(path) for _ in range(WARM + 2)]
    wait_until(lambda: warm_house.fork_server() not in (None, first), "the next fork server")
    warm_house.wait_warm(WARM)

    assert {end.state for end in ends} == {"COMPLETE"}
    assert ends[0].result is True, "those that waited are of use without it"
    assert warm_house.run(path).result is True
    log = (warm_house.directory / "host.log").read_text()
    assert log.count("the fork server is gone") == 1


def test_nothing_is_lost_when_fork_servers_die_at_any_time(make_house, write_script):
    seed = random.randrange(1_000_000)
    dice = random.Random(seed)
    house = make_house(warm=2)
    path = write_script("import time\ndef main(x): time.sleep(0.01); return x")
    ids = []
    for number in range(60):
        ids.append(house.launch(path, args=[number]))
        if number % 6 == 5:
            wait_until(house.fork_server, "a fork server")
            time.sleep(dice.random() * 0.05)
            burst = [house.launch(path, args=[len(ids) + more]) for more in range(4)]
            ids += burst
            time.sleep(dice.random() * 0.02)
            for pid in house.helpers():
                if name_of(pid) == "fork server":
                    os.kill(pid, signal.SIGKILL)

    ends = [house.heard.wait_end(procedure_id) for procedure_id in ids]

    assert [end.state for end in ends] == ["COMPLETE"] * len(ids), f"seed {seed}"
    for procedure_id in ids:
        assert len(house.heard.of(procedure_id, "end")) == 1
        assert house.heard.states(procedure_id) == ["IDLE", "LOADING", "READY", "RUNNING"]
    wait_until(house.fork_server, "the last fork server")
    house.wait_warm(2)
    assert house.marked() == []


def test_scripts_that_die_and_are_born_at_once_do_not_harm_each_other(make_house, write_script):
    house = make_house(warm=3)
    house.wait_warm(3)
    path = write_script(
        """
        import os, signal, time
        def main(n):
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    time.sleep(100)
                os._exit(0)
            os.wait()
            if n % 3 == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return n
        """
    )

    ids = [house.launch(path, args=[number]) for number in range(60)]
    ends = [house.heard.wait_end(procedure_id, patience=60) for procedure_id in ids]

    for number, end in enumerate(ends):
        if number % 3:
            assert (end.state, end.result) == ("COMPLETE", number)
        else:
            assert end.error == "killed by signal 9 (SIGKILL) in main"
    assert house.marked() == []
    log = (house.directory / "host.log").read_text()
    assert "died" not in log
    assert "which waited for a script, has ended" not in log


def test_a_fork_server_that_hangs_is_stood_in_for_and_replaced(make_house, write_script):
    house = make_house(warm=0)
    house.wait_fork_server()
    first = house.fork_server()
    path = write_script(FORKED)

    house.freeze_fork_server()
    end = house.run(path)

    assert (end.state, end.result) == ("COMPLETE", False)
    log = (house.directory / "host.log").read_text()
    assert "the fork server has not answered for 0.5 s" in log
    house.wait_fork_server(2)
    assert not is_alive(first)
    assert house.run(path).result is True


def test_a_stop_that_comes_while_a_process_is_being_made_stops(make_house, write_script):
    house = make_house(warm=0)
    house.wait_fork_server()
    house.freeze_fork_server()

    procedure_id = house.launch(write_script("def main(): pass"))
    house.client.stop(procedure_id, 3.0)

    assert house.heard.wait_end(procedure_id).state == "STOPPED"


def test_a_process_that_passes_itself_off_as_newborn_does_not_outlive_its_script(
    make_house, write_script
):
    house = make_house(warm=1)
    house.wait_warm(1)
    path = write_script(
        f"""
        import os, signal, subprocess, time
        from pathlib import Path
        def main():
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # so that it ends when the order is out
            spare = os.environ["{MARK}"].rpartition(":")[0] + ":" + "0" * 20
            left = subprocess.Popen(
                ["sleep", "1000"], start_new_session=True, env={{**os.environ, "{MARK}": spare}}
            )
            Path(__file__).with_name("pid").write_text(str(left.pid))
            print("started")
            time.sleep(1000)
        """
    )
    procedure_id = house.launch(path)
    house.wait_line(procedure_id, "started")
    house.wait_warm(1)
    os.kill(house.fork_server(), signal.SIGSTOP)  # what it is ordered from now on is not told
    other = house.launch(MISBEHAVING / "sleeps.py")
    house.wait_line(other, "sleeping")

    house.client.stop(procedure_id, 0.3)
    house.heard.wait_end(procedure_id)

    assert not is_alive(int(path.with_name("pid").read_text()))


# --- Its end


def test_a_killed_host_takes_all_that_waits_along(make_house):
    house = make_house(warm=8)
    house.wait_warm(8)
    running = house.launch(MISBEHAVING / "sleeps.py")
    house.heard.wait_state(running, "RUNNING")
    pids = [*house.helpers(), *house.marked()]
    house.client.close()

    os.kill(house.pid, signal.SIGKILL)
    began = time.monotonic()
    wait_until(lambda: not any(map(is_alive, pids)), "everything to end")

    assert time.monotonic() - began < 2.0


def test_host_and_fork_server_killed_together_leave_nothing(make_house):
    house = make_house(warm=8)
    house.wait_fork_server()
    house.client.close()
    pids = house.helpers()

    os.kill(house.fork_server(), signal.SIGKILL)
    os.kill(house.pid, signal.SIGKILL)

    wait_until(lambda: not any(map(is_alive, pids)) and not house.helpers(), "everything to end")


def test_the_lifeline_ends_what_waits(make_house):
    reader, writer = os.pipe()
    house = make_house(lifeline_fd=reader, warm=8)
    house.wait_warm(8)
    pids = [*house.helpers(), house.pid]
    house.client.close()

    os.close(writer)
    began = time.monotonic()
    wait_until(lambda: not any(map(is_alive, pids)), "everything to end")

    assert time.monotonic() - began < 2.0
    os.close(reader)


def test_a_host_that_only_has_waiting_processes_is_idle(make_house):
    house = make_house(warm=2, idle_seconds=0.2)
    house.wait_warm(2)
    pids = house.helpers()

    house.client.close()

    wait_until(lambda: not is_alive(house.pid), "the host to end")
    assert not any(map(is_alive, pids))


# --- What it costs


def test_waiting_costs_little_memory_and_no_time(make_house):
    house = make_house(warm=8)
    house.wait_warm(8)
    pids = [house.pid, *house.helpers()]

    def rest():
        """Whether none of them does anything for a while."""
        before = {pid: ticks(pid) for pid in pids}
        time.sleep(0.5)
        return {pid: ticks(pid) for pid in pids} == before

    wait_until(rest, "them to rest")
    own = [memory(pid)["Private_Dirty"] for pid in house.waiting()]
    assert sum(own) / len(own) < 5 * 1024


def descriptors(pid):
    """What is behind a process's descriptors."""
    return {int(each.name): str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir()}


def ticks(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def memory(pid):
    """What a process has to itself, in KiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {name: int(value.split()[0]) for name, _, value in (x.partition(":") for x in lines)}


def test_the_fork_server_is_as_it_must_be(warm_house):
    pid = warm_house.fork_server()

    assert len(list(Path(f"/proc/{pid}/task").iterdir())) == 1
    opened = list(descriptors(pid).values())
    sockets = [what for what in opened if what.startswith("socket:")]
    assert len(sockets) == 1, "its orders come on it"
    assert json.dumps(opened).count("pipe:") == 4, "those of libomniORB"
