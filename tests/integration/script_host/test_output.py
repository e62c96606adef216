"""What scripts write: every line, in order, attributed, and bounded."""

from __future__ import annotations

import re
import time

from tests.integration.script_host.house import MISBEHAVING

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def test_stdout_stderr_and_log_keep_their_order(house, write_script):
    path = write_script(
        """
        import logging, sys
        LOG = logging.getLogger("observe")
        def main():
            for number in range(200):
                print("out", number)
                print("err", number, file=sys.stderr)
                LOG.info("log %d", number)
            LOG.debug("not shown")
        """
    )

    procedure_id = house.launch(path)
    house.heard.wait_end(procedure_id)
    lines = house.lines(procedure_id)

    expected = []
    for number in range(200):
        expected += [
            ("stdout", f"out {number}"),
            ("stderr", f"err {number}"),
            ("log", f"INFO observe: log {number}"),
        ]
    assert [(line["stream"], line["text"]) for line in lines] == expected
    assert [line["n"] for line in lines] == list(range(600))
    assert all(TIME.fullmatch(line["time"]) for line in lines)


def test_native_code_and_other_programs_are_heard(house, write_script):
    path = write_script(
        """
        import os, subprocess, sys
        def main():
            os.write(1, b"raw stdout\\n")
            os.write(2, b"raw stderr, no line end")
            subprocess.run("echo from a shell", shell=True)
            sys.stdout.buffer.write(b"bytes \\xff\\n")
            print("surrogate \\udcff and \\N{GREEK SMALL LETTER PI}")
        """
    )

    procedure_id = house.launch(path)
    house.heard.wait_end(procedure_id)
    heard = {(line["stream"], line["text"]) for line in house.lines(procedure_id)}

    assert heard == {
        ("stdout", "raw stdout"),
        ("stderr", "raw stderr, no line end"),
        ("stdout", "from a shell"),
        ("stdout", r"bytes \xff"),
        ("stdout", "surrogate \\udcff and \N{GREEK SMALL LETTER PI}"),
    }


def test_an_exception_in_a_log_record_is_kept_line_by_line(house, write_script):
    path = write_script(
        """
        import logging
        def main():
            try:
                1 / 0
            except ZeroDivisionError:
                logging.exception("that failed")
        """
    )

    procedure_id = house.launch(path)
    house.heard.wait_end(procedure_id)

    texts = house.texts(procedure_id)
    assert texts[0] == "ERROR root: that failed"
    assert texts[-1] == "ZeroDivisionError: division by zero"


def test_the_last_lines_and_the_place_to_go_on_are_known(house, write_script):
    procedure_id = house.launch(write_script("def main():\n  for n in range(120): print(n)"))
    house.heard.wait_end(procedure_id)

    lines, next_offset, dropped = house.client.read_output(procedure_id, 10, 5)
    tail = house.client.output_tail(procedure_id)

    assert [line["text"] for line in lines] == ["10", "11", "12", "13", "14"]
    assert (next_offset, dropped) == (15, 0)
    assert [line["text"] for line in tail] == [str(n) for n in range(70, 120)]


def test_the_last_notice_of_output_comes_before_the_end(house, write_script):
    procedure_id = house.launch(write_script("def main():\n  for n in range(5000): print(n)"))
    house.heard.wait_end(procedure_id)

    told = house.heard.of(procedure_id, "output", "end")
    assert told[-2] == ("output", 5000)
    assert told[-1][0] == "end"


def test_a_flood_is_bounded_and_holds_nobody_up(house, write_script):
    calm = write_script("import time\ndef main(): time.sleep(0.2)")
    flood = house.launch(MISBEHAVING / "floods.py", args=[50])
    house.heard.wait("output", flood)

    latencies = []
    for _ in range(3):
        procedure_id = house.launch(calm, function=None)
        house.heard.wait_state(procedure_id, "READY")
        began = time.monotonic()
        house.start(procedure_id)
        house.heard.wait_state(procedure_id, "RUNNING")
        latencies.append(time.monotonic() - began)
        assert house.heard.wait_end(procedure_id).state == "COMPLETE"
    end = house.heard.wait_end(flood, patience=60)

    assert end.state == "COMPLETE"
    assert min(latencies) < 0.5, "the host serves others between two pieces of the flood"
    kept = sum(path.stat().st_size for path in (house.directory / "output" / str(flood)).iterdir())
    assert kept <= 16 * 1024 * 1024 + 1024 * 1024
    lines, _, dropped = house.client.read_output(flood, 0, 1)
    assert lines[0]["n"] == dropped > 0
    assert house.client.output_tail(flood, 1)[0]["text"] == "end of flood"
    notices = house.heard.of(flood, "output")
    assert len(notices) < 60 * 25


def test_one_endless_line_is_cut(house):
    procedure_id = house.launch(MISBEHAVING / "floods.py", args=[20, ""])
    end = house.heard.wait_end(procedure_id)
    texts = house.texts(procedure_id)

    assert end.state == "COMPLETE"
    assert texts[-1] == "end of flood"
    assert "line cut at 65536 bytes" in texts[0]
    assert len(texts) == 2


def test_forgotten_output_is_removed(house, write_script):
    procedure_id = house.launch(write_script("def main(): print(1)"))
    house.heard.wait_end(procedure_id)
    folder = house.directory / "output" / str(procedure_id)
    assert folder.exists()

    house.client.forget(procedure_id)
    house.run(write_script("def main(): pass"))  # the host answers in order

    assert not folder.exists()
    assert house.client.read_output(procedure_id, 0, 10) == ([], 0, 0)


def test_lines_of_threads_are_not_mixed(house, write_script):
    path = write_script(
        """
        import threading
        def talk(name):
            for number in range(300):
                print("thread", name, "says", number)
        def main():
            threads = [threading.Thread(target=talk, args=(name,)) for name in "abcd"]
            for thread in threads:
                thread.start()
        """
    )

    procedure_id = house.launch(path)
    house.heard.wait_end(procedure_id)

    expected = [f"thread {name} says {number}" for name in "abcd" for number in range(300)]
    assert sorted(house.texts(procedure_id)) == sorted(expected)
