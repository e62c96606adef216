"""What a script finds: its place, its arguments, its ways to report."""

from __future__ import annotations

import os

import pytest

from ska_oso_activity.domain.errors import Reason

# --- Its place


def test_a_script_is_where_its_author_expects_it(house, write_script):
    path = write_script(
        """
        import inspect, os, sys
        import helper
        HERE = dict(name=__name__, file=__file__, cwd=os.getcwd(), argv=sys.argv, path=sys.path[0])
        def main():
            return {
                **HERE,
                "helper": helper.VALUE,
                "source": inspect.getsource(main).splitlines()[0],
                "module": sys.modules[__name__].HERE is HERE,
                "threads": len(os.listdir("/proc/self/task")),
            }
        """,
        "observe_something.py",
    )
    (path.parent / "helper.py").write_text("VALUE = 5")

    result = house.run(path).result

    folder = str(path.parent)
    assert result == {
        "name": "observe_something",
        "file": str(path),
        "cwd": folder,
        "argv": [str(path)],
        "path": folder,
        "helper": 5,
        "source": "def main():",
        "module": True,
        "threads": 1,
    }
    caches = [each.name for each in path.parent.rglob("*.pyc")]
    assert not any(name.startswith("observe_something") for name in caches)


def test_a_script_that_is_changed_within_a_second_is_run_as_it_is(house, write_script):
    first = house.run(write_script("def main(): return 1")).result
    second = house.run(write_script("def main(): return 2")).result

    assert (first, second) == (1, 2)


@pytest.mark.parametrize("name", ["json.py", "logging.py", "socket.py"])
def test_a_script_named_like_a_module_of_pythons_hides_it_from_nobody(house, write_script, name):
    path = write_script("import json\ndef main(): return [__name__, json.dumps(1)]", name)

    end = house.run(path)

    if name == "json.py":  # its folder comes first on the path, as for every script
        assert (end.state, end.result) == ("COMPLETE", ["script_json", "1"])
    else:
        assert end.result == [f"script_{name.removesuffix('.py')}", "1"]


def test_the_environment_is_the_hosts_with_what_was_asked_for(house, write_script, monkeypatch):
    path = write_script("import os\ndef main(): return dict(os.environ)")

    result = house.run(path, environment={"SKA_TELESCOPE": "SKA-mid", "HOME": "/elsewhere"}).result

    assert (result["SKA_TELESCOPE"], result["HOME"]) == ("SKA-mid", "/elsewhere")
    assert result["PATH"] == os.environ["PATH"]
    assert result["PYTHONUNBUFFERED"] == "1"


def test_a_script_has_a_session_and_no_descriptors_of_others(house, write_script):
    path = write_script(
        """
        import os
        def main():
            sid = os.getsid(0) == os.getpid() == os.getpgid(0)
            names = []
            for fd in range(64):
                try:
                    names.append(os.readlink(f"/proc/self/fd/{fd}").partition(":")[0])
                except OSError:
                    pass
            return [sid, sorted(names)]
        """
    )

    leads, names = house.run(path).result

    assert leads
    for _ in range(4 if house.is_warm else 0):  # libomniORB, which is loaded, has two pipes
        names.remove("pipe")
    assert names == ["/dev/null", "pipe", "pipe", "socket", "socket"]


def test_programs_that_a_script_starts_inherit_no_way_to_the_host(house, write_script):
    path = write_script(
        """
        import subprocess
        def main():
            listing = subprocess.run(
                "ls /proc/self/fd", shell=True, close_fds=False, capture_output=True, text=True
            )
            return listing.stdout.split()
        """
    )

    assert house.run(path).result == ["0", "1", "2", "3"]  # 3 is the folder that ls reads


def test_signals_are_as_in_a_new_program(house, write_script):
    path = write_script(
        """
        import signal
        def main():
            dispositions = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGCHLD)]
            return [d == signal.SIG_DFL for d in dispositions], len(signal.pthread_sigmask(0, []))
        """
    )

    assert house.run(path).result == [[True, True], 0]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_script_may_use_processes_of_its_own(house, write_script, method):
    path = write_script(
        """
        import multiprocessing
        def square(x):
            print(f"square of {x}\\n", end="")
            return x * x
        def main(method):
            with multiprocessing.get_context(method).Pool(2) as pool:
                return pool.map(square, range(4))
        """,
        "uses_processes.py",
    )

    procedure_id = house.launch(path, args=[method])
    end = house.heard.wait_end(procedure_id)

    assert (end.state, end.result, end.error) == ("COMPLETE", [0, 1, 4, 9], None)
    assert sorted(house.texts(procedure_id)) == [f"square of {x}" for x in range(4)]


# --- Its functions


def test_init_is_given_its_arguments_and_the_subarray(house, write_script):
    path = write_script(
        """
        def init(a, *, b, subarray_id=None):
            global seen
            seen = [a, b, subarray_id]
        def main():
            return seen
        """
    )
    init = {"args": (1,), "kwargs": {"b": 2}}

    procedure_id = house.launch(path, init=init, subarray_id=7)
    end = house.heard.wait_end(procedure_id)

    assert end.result == [1, 2, 7]
    expected = ["IDLE", "LOADING", "INITIALISING", "READY", "RUNNING"]
    assert house.heard.states(procedure_id) == expected


def test_main_may_be_rebound_in_init(house, write_script):
    path = write_script(
        """
        import functools
        def _main(subarray_id, sb_json, sbi_id):
            return [subarray_id, sb_json, sbi_id]
        def init(subarray_id):
            global main
            main = functools.partial(_main, subarray_id)
        """
    )

    end = house.run(path, subarray_id=4, block_path="/sbs/b.json", kwargs={"sbi_id": "sbi-1"})

    assert end.result == [4, "/sbs/b.json", "sbi-1"]


def test_main_is_given_only_what_it_takes(house, write_script):
    path = write_script("def main(): return 'ran'")

    end = house.run(path, subarray_id=4, block_path="/sbs/b.json", kwargs={"sbi_id": "sbi-1"})

    assert (end.state, end.result) == ("COMPLETE", "ran")


def test_run_is_started_where_there_is_no_main(house, write_script):
    end = house.run(write_script("def run(x): return x"), args=[5])

    assert (end.state, end.result) == ("COMPLETE", 5)


def test_a_function_that_is_not_there_is_a_script_error(house, write_script):
    end = house.run(write_script("def main(): pass"), function="calibrate")

    assert (end.state, end.reason) == ("FAILED", Reason.SCRIPT_ERROR)
    assert "no function 'calibrate'" in end.error


def test_arguments_that_do_not_fit_are_a_script_error(house, write_script):
    path = write_script("def main(x, *, y): pass")

    procedure_id = house.launch(path, kwargs={"z": 1})
    end = house.heard.wait_end(procedure_id)

    assert end.reason == Reason.SCRIPT_ERROR
    assert end.error == "TypeError: main(x, *, y): missing a required argument: 'x'"
    assert "RUNNING" not in house.heard.states(procedure_id)


def test_a_main_that_would_run_nothing_when_called_is_a_script_error(house, write_script):
    end = house.run(write_script("async def main(): pass"))

    assert (end.state, end.reason) == ("FAILED", Reason.SCRIPT_ERROR)
    assert "asynchronous" in end.error


def test_a_function_is_started_once(house, write_script):
    path = write_script("calls = []\ndef main(): calls.append(1); return len(calls)")
    procedure_id = house.launch(path, function=None)

    house.start(procedure_id)
    house.start(procedure_id)
    end = house.heard.wait_end(procedure_id)

    assert end.result == 1
    assert house.heard.states(procedure_id).count("RUNNING") == 1


def test_large_arguments_arrive(house, write_script):
    path = write_script("def main(text): return len(text)")

    assert house.run(path, args=["x" * 1_000_000]).result == 1_000_000


# --- Its reports


def test_reports_by_our_own_module(house, write_script):
    path = write_script(
        """
        from ska_oso_activity import script
        def main(sb_json):
            script.announce("configuring")
            script.progress(0.25, "scan 1")
            script.progress(1)
            return [script.subarray_id(), script.load_scheduling_block(sb_json)["sbd_id"]]
        """
    )
    block = path.with_name("block.json")
    block.write_text('{"sbd_id": "sbd-1"}')

    procedure_id = house.launch(path, subarray_id=2, block_path=str(block))
    end = house.heard.wait_end(procedure_id)

    assert end.result == [2, "sbd-1"]
    assert house.heard.of(procedure_id, "message", "progress") == [
        ("message", "configuring"),
        ("progress", (25.0, "scan 1")),
        ("progress", (100.0, "")),
    ]


@pytest.mark.parametrize("how", ["from pubsub import pub", "import pubsub.pub as pub"])
def test_pubsub_messages_on_the_announcement_topics_are_announcements(house, write_script, how):
    path = write_script(
        f"""
        {how}
        def listener(msg, other=None):
            print("heard", msg)
        def main():
            pub.subscribe(listener, "user.script.announce")
            pub.sendMessage("user.script.announce", msg="one", other=1)
            pub.sendMessage("script.announce", msg="two")
            pub.sendMessage("script.other", msg="three")
        """
    )

    procedure_id = house.launch(path)
    end = house.heard.wait_end(procedure_id)

    assert (end.state, end.error) == ("COMPLETE", None)
    assert house.heard.of(procedure_id, "message") == [("message", "one"), ("message", "two")]
    assert house.texts(procedure_id) == ["heard one"]


def test_reports_come_after_running_and_before_the_end(house, write_script):
    path = write_script(
        """
        from ska_oso_activity import script
        def main():
            for number in range(100):
                script.announce(str(number))
        """
    )

    procedure_id = house.launch(path)
    house.heard.wait_end(procedure_id)

    told = house.heard.of(procedure_id, "state", "message", "end")
    messages = [value for method, value in told if method == "message"]
    assert messages == [str(number) for number in range(100)]
    assert [method for method, _ in told][-101:] == ["message"] * 100 + ["end"]
    assert told[-102][1][0] == "RUNNING"
