"""Environments are built once from a checkout, shared, and never used half-built."""

import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ska_oso_activity.adapters.environments import COMPLETE, Environments
from ska_oso_activity.adapters.programs import Effort, ProgramFailed, last_words, run
from ska_oso_activity.adapters.shelf import IDLE_S, Shelf
from ska_oso_activity.domain.errors import EnvironmentFailed

# A package that builds itself, so that installing it needs no network and no build tool.
PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
BACKEND = """
import os, time, zipfile

def build_wheel(directory, settings=None, metadata=None):
    assert "SECRET" not in os.environ
    BODY
    info = "tinypkg-1.dist-info/"
    with zipfile.ZipFile(os.path.join(directory, "tinypkg-1-py3-none-any.whl"), "w") as wheel:
        wheel.writestr("tinypkg.py", "VALUE = 42\\n")
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: tinypkg\\nVersion: 1\\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr(info + "RECORD", "")
    open("left-behind", "w").close()
    return "tinypkg-1-py3-none-any.whl"
"""


OURS = Path(sys.executable).name


def package(directory, body="pass"):
    directory.mkdir()
    (directory / "pyproject.toml").write_text(PYPROJECT)
    (directory / "backend.py").write_text(BACKEND.replace("BODY", body))
    return directory


def never():
    return False


def quiet(_):
    pass


def built(directory):
    return [path for path in directory.iterdir() if not path.name.startswith(".")]


def ask(python, code):
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    return done.stdout.strip()


class Build:
    """One real environment, asked for by several at the same time."""

    def __init__(self, directory):
        os.environ["SECRET"] = "xyz"
        self.directory = directory / "environments"
        self.checkout = package(directory / "checkout")
        self.reports = []
        self.environments = Environments(self.directory, 100)
        with ThreadPoolExecutor(3) as threads:
            answers = threads.map(lambda _: self.python(), range(3))
            self.answers = list(answers)
        del os.environ["SECRET"]

    def python(self, key="repo@1"):
        return self.environments.python_for(key, self.checkout, self.reports.append, never)


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    return Build(tmp_path_factory.mktemp("build"))


def test_requests_at_the_same_time_share_one_build(build):
    assert len(set(build.answers)) == 1
    assert build.reports.count("creating a virtual environment") == 1
    assert any("tinypkg" in line for line in build.reports)
    assert len(built(build.directory)) == 1


def test_the_environment_has_the_repository_and_the_platform_behind_it(build):
    python = build.answers[0]

    assert ask(python, "import tinypkg; print(tinypkg.VALUE)") == "42"
    assert ask(python, "import numpy, ska_oso_activity; print('both')") == "both"
    paths = ask(python, "import sys; print('\\n'.join(sys.path))").splitlines()
    own = next(i for i, path in enumerate(paths) if path.startswith(str(build.directory)))
    platform = [i for i, path in enumerate(paths) if path == str(Path(__file__).parents[3] / "src")]
    assert all(own < index for index in platform)


def test_building_leaves_the_checkout_as_it_was(build):
    assert sorted(path.name for path in build.checkout.iterdir()) == [
        "backend.py",
        "pyproject.toml",
    ]
    assert not (build.answers[0].parents[1] / "source").exists()


def test_a_finished_environment_is_there_at_once_and_in_the_next_process(build):
    started = time.monotonic()

    again = Environments(build.directory, 100).python_for("repo@1", build.checkout, quiet, never)

    assert again == build.answers[0]
    assert time.monotonic() - started < 0.1


def test_an_interrupted_environment_is_built_anew(build):
    python = build.answers[0]
    (python.parents[1] / COMPLETE).unlink()
    python.unlink()

    assert build.python() == python
    assert ask(python, "import tinypkg; print(tinypkg.VALUE)") == "42"


def test_a_failed_build_says_why_and_leaves_nothing(tmp_path):
    checkout = package(tmp_path / "checkout", "raise RuntimeError('no telescope')")
    environments = Environments(tmp_path / "environments", 100)

    with pytest.raises(EnvironmentFailed, match=r"pip failed: .*no telescope"):
        environments.python_for("repo@1", checkout, quiet, never)

    assert built(tmp_path / "environments") == []


def test_a_build_that_is_cancelled_is_killed_and_leaves_nothing(tmp_path):
    checkout = package(
        tmp_path / "checkout", f"open({str(tmp_path / 'on')!r}, 'w'); time.sleep(600)"
    )
    environments = Environments(tmp_path / "environments", 100)

    with pytest.raises(EnvironmentFailed, match="cancelled"):
        environments.python_for("repo@1", checkout, quiet, (tmp_path / "on").exists)

    assert built(tmp_path / "environments") == []


def test_the_name_of_an_environment_changes_with_what_it_depends_on(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(Environments, "_build", lambda _self, path, *_: asked.append(path))
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    environments = Environments(tmp_path / "environments", 1)

    environments.python_for("repo@1", checkout, quiet, never)
    environments.python_for("repo@1", checkout, quiet, never)
    environments.python_for("repo@2", checkout, quiet, never)
    for name in ("pyproject.toml", "poetry.lock", "uv.lock", "setup.cfg", "requirements-dev.txt"):
        (checkout / name).write_text(name)
        environments.python_for("repo@1", checkout, quiet, never)

    assert len(asked) == 8
    assert len(set(asked)) == 7


class Commands(list[list[str]]):
    """Notes the commands that would have been run."""

    def __call__(self, command, _effort, **_):
        self.append([Path(command[0]).name, *command[1:]])
        if "venv" in command:
            (Path(command[-1]) / "lib" / "python3.x" / "site-packages").mkdir(parents=True)
        return ""


@pytest.fixture
def commands(monkeypatch):
    commands = Commands()
    monkeypatch.setattr("ska_oso_activity.adapters.environments.run", commands)
    return commands


@pytest.mark.parametrize(
    ("files", "installed"),
    [
        ({"pyproject.toml": "[project]\n"}, "source"),
        ({"pyproject.toml": "[build-system]\n"}, "source"),
        ({"setup.py": ""}, "source"),
        ({"requirements.txt": "x"}, "requirements.txt"),
        ({"pyproject.toml": "[tool.ruff]\n", "requirements.txt": "x"}, "requirements.txt"),
        ({"pyproject.toml": "[tool.ruff]\n"}, None),
        ({}, None),
    ],
)
@pytest.mark.parametrize("uv", [None, "/bin/uv"])
def test_what_is_installed_depends_on_what_the_repository_has(
    tmp_path, monkeypatch, commands, files, installed, uv
):
    monkeypatch.setattr(shutil, "which", lambda _: uv)
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name, content in files.items():
        (checkout / name).write_text(content)

    Environments(tmp_path / "environments", 1).python_for("x", checkout, quiet, never)

    installs = [command for command in commands if "install" in command]
    assert [Path(command[-1]).name for command in installs] == [installed] * bool(installed)
    assert {command[0] for command in commands} <= ({"uv"} if uv else {"python", OURS})


# --- Programs


def test_lines_of_output_are_reported_as_they_come(tmp_path):
    told: list[str] = []
    effort = Effort.of(10, told.append, never)

    output = run(
        ["sh", "-c", r"printf 'one\ntw'; printf 'o\r\n\033[1mthree\n\377\n'; echo four >&2"],
        effort,
        environment=dict(os.environ),
        directory=tmp_path,
        tell=True,
    )

    assert told == ["one", "two", "[1mthree", "\ufffd", "four"]
    assert output.endswith("four\n")


def test_a_program_that_fails_is_quoted(tmp_path):
    with pytest.raises(ProgramFailed, match="sh failed: fatal: no such thing"):
        run(
            ["sh", "-c", "echo fatal: no such thing; exit 3"],
            Effort.of(10, quiet, never),
            environment=dict(os.environ),
            directory=tmp_path,
        )


def test_a_child_that_holds_the_output_open_is_not_waited_for(tmp_path):
    started = time.monotonic()

    output = run(
        ["sh", "-c", "sleep 600 & echo $!"],
        Effort.of(10, quiet, never),
        environment=dict(os.environ),
        directory=tmp_path,
    )

    assert time.monotonic() - started < 2
    deadline = time.monotonic() + 5
    while is_running(int(output)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_running(int(output))


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_program_that_floods_is_read_to_its_end_and_cut(tmp_path):
    output = run(
        ["sh", "-c", "yes | head -c 30000000; echo end"],
        Effort.of(30, quiet, never),
        environment=dict(os.environ),
        directory=tmp_path,
    )

    assert len(output) <= 64 * 1024
    assert output.endswith("end\n")


def test_last_words_are_the_last_lines_for_an_operators_screen():
    assert last_words("") == "it said nothing"
    assert last_words("a\x1b[0m\n\n b\t c\n") == "a [0m; b c"
    assert last_words("first\n" + "x" * 5000) == "x" * 500
    assert last_words("\n".join(f"line {n}" for n in range(1000))).endswith("line 998; line 999")
    assert len(last_words("\n".join(f"line {n}" for n in range(1000)))) < 700


# --- The shelf


def test_whoever_waits_for_another_can_be_cancelled(tmp_path):
    shelf = Shelf(tmp_path, 3)
    cancelled = threading.Event()

    with shelf.hold("a", Effort.of(10, quiet, never)), ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(shelf.hold("a", Effort.of(10, quiet, cancelled.is_set)).__enter__)
        cancelled.set()
        with pytest.raises(EnvironmentFailed, match="cancelled"):
            waiting.result(timeout=5)


def test_only_one_holds_a_name_at_a_time(tmp_path):
    inside = []
    most = []

    def work(_):
        with Shelf(tmp_path, 3).hold("a", Effort.of(30, quiet, never)):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.002)
            inside.pop()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(40)))

    assert max(most) == 1
    assert list((tmp_path / ".locks").iterdir()) == []


def test_what_somebody_is_making_is_not_tidied_away(tmp_path):
    shelf = Shelf(tmp_path, 3)

    with shelf.hold("a", Effort.of(10, quiet, never)):
        shelf.partial("a").mkdir()
        shelf.partial("b").mkdir()
        shelf.tidy()

        assert shelf.partial("a").exists()
        assert not shelf.partial("b").exists()


def test_finished_directories_go_by_their_last_use(tmp_path):
    shelf = Shelf(tmp_path, 1, marker=COMPLETE)
    shelf.make()
    for age, name in enumerate("abcd"):
        (tmp_path / name).mkdir()
        (tmp_path / name / COMPLETE).touch()
        os.utime(tmp_path / name, (time.time() - IDLE_S * 10 * (1 + age),) * 2)

    shelf.ready("c")
    shelf.tidy()

    assert [path.name for path in built(tmp_path)] == ["c"]
