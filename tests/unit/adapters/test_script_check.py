"""A script is judged without running any of it, and only where that is sure."""

import pytest

from ska_oso_activity.adapters.script_check import check_script
from ska_oso_activity.domain.arguments import ProcedureInput

NOTHING = ProcedureInput()


def check(source, init=NOTHING, main=NOTHING, subarray_id=None):
    found = check_script(source, "/scripts/x.py", init, main, subarray_id)
    assert all(finding.keys() == {"code", "message"} for finding in found)
    return [f"{finding['code']}: {finding['message']}" for finding in found]


def args(*args, **kwargs):
    return ProcedureInput(args, kwargs)


@pytest.mark.parametrize(
    "source",
    [
        "def main(): ...",
        "def run(): ...",
        "def init(): ...\ndef main(): ...",
        b"# coding: latin-1\ndef main(): return '\xe9'",
        b"\xef\xbb\xbfdef main(): ...",
    ],
)
def test_a_plain_script_is_fine(source):
    assert check(source) == []


def test_nothing_of_the_script_is_run(tmp_path):
    marker = tmp_path / "ran"

    check(f"open({str(marker)!r}, 'w')\ndef main(x=open({str(marker)!r}, 'w')): ...\nexit(1)")

    assert not marker.exists()


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("def main(:\n", "line 1: "),
        ("x = 1\ny = 'root:x:0:0\n", "line 2: "),
        ("return 1\n", "line 1: 'return' outside function"),
        (b"\xff\xfe", ""),
        ("a\0b", ""),
        ("(" * 100_000, ""),
        ("-" * 100_000 + "1", "nested too deeply"),
        ("x" + ".y" * 100_000, "nested too deeply"),
    ],
)
def test_what_does_not_compile_cannot_be_loaded(source, says):
    (found,) = check(source)

    assert found.startswith("SCRIPT_LOAD_ERROR: ")
    assert says in found
    assert "root:x" not in found


@pytest.mark.parametrize(
    "source", ["", "x = 1", "class A:\n def main(self): ...", "def f():\n def main(): ..."]
)
def test_a_script_with_nothing_to_start_cannot_be_loaded(source):
    assert check(source) == [
        "SCRIPT_LOAD_ERROR: the script has neither main nor run: there is nothing to start"
    ]


@pytest.mark.parametrize(
    "source",
    [
        "main = print",
        "from x import main",
        "from x import y as main",
        "import main",
        "from x import *",
        "if x:\n def main(): ...",
        "try:\n from x import main\nexcept ImportError:\n def main(a): ...",
        "@wrap\ndef main(a): ...",
        "class main: ...",
        "def main(a): ...\nmain = wrap(main)",
        "def init():\n global main\n main = 1",
        "def main(a): ...\ndef init():\n global main\n main = partial(main, 1)",
        "globals()['main'] = 1",
        "import sys\nsetattr(sys.modules[__name__], 'main', 1)",
        "(main := 1)",
        "match x:\n case main: ...",
        "for main in x: ...",
        "with x as main: ...",
    ],
)
def test_a_script_that_may_bind_its_functions_in_other_ways_is_left_alone(source):
    assert check(source) == []


def test_the_last_definition_counts():
    assert check("main = 1\ndef main(a): ...") == [
        "SCRIPT_ERROR: main() missing a required argument: 'a'"
    ]
    assert check("def main(a): ...\ndef main(): ...") == []


@pytest.mark.parametrize("name", ["init", "main", "run"])
@pytest.mark.parametrize("source", ["async def {}(): ...", "def {}():\n for x in y: yield x"])
def test_a_function_that_would_run_nothing_is_found(name, source):
    (found,) = check(source.format(name) + ("\ndef main(): ..." if name == "init" else ""))

    assert found.startswith(f"SCRIPT_LOAD_ERROR: {name} is asynchronous or a generator")


def test_a_function_may_hold_generators_and_coroutines():
    inner = "def a(): yield 1\n async def b(): ...\n c = lambda: (yield)\n d = (x for x in y)"

    assert check(f"def main():\n {inner}") == []


@pytest.mark.parametrize(
    ("definition", "main", "says"),
    [
        ("main()", args(1), "main() too many positional arguments"),
        ("main()", args(a=1), "main() got an unexpected keyword argument 'a'"),
        ("main(a)", args(), "main() missing a required argument: 'a'"),
        ("main(a, *, b)", args(1), "main() missing a required"),
        ("main(a)", args(1, a=2), "main() multiple values for argument 'a'"),
        ("main(a, /)", args(a=1), "main() "),
        ("run(a)", args(), "run() missing a required argument: 'a'"),
    ],
)
def test_arguments_that_do_not_fit_are_found(definition, main, says):
    (found,) = check(f"def {definition}: ...", main=main)

    assert found.startswith(f"SCRIPT_ERROR: {says}")


@pytest.mark.parametrize(
    ("definition", "main"),
    [
        ("main(a, b=1, *, c, d=2)", args(1, c=3)),
        ("main(a, /, b)", args(1, b=2)),
        ("main(*a, **k)", args(1, 2, b=2)),
        ("main(**k)", ProcedureInput((), {"not an identifier": 1, "self": 2, "args": 3})),
        ("main(sb_json, sbi_id)", args()),
        ("main(sb_json)", args()),
        ("main(sb_json)", args("mine")),
        ("main(a, *, sbi_id, sb_json=None)", args(1)),
        ("run(a, sb_json)", args(1)),
    ],
)
def test_arguments_that_fit_with_what_the_platform_adds_are_fine(definition, main):
    assert check(f"def {definition}: ...", main=main) == []


def test_the_lane_fills_a_subarray_id_that_is_left_without_a_value():
    source = "def init(subarray_id): ...\ndef main(): ..."

    assert check(source, subarray_id=3) == []
    assert check(source, init=args(3), subarray_id=3) == []
    assert check(source, init=args(subarray_id=3), subarray_id=3) == []
    assert check("def main(subarray_id, sb_json): ...", subarray_id=3) == []
    assert check(source) == ["SCRIPT_ERROR: init() missing a required argument: 'subarray_id'"]


def test_all_that_is_wrong_is_said():
    found = check("def init(a): ...\ndef main(b): ...")

    assert [text.split(":")[0] for text in found] == ["SCRIPT_ERROR", "SCRIPT_ERROR"]


def test_sb_json_and_sbi_id_are_not_given_to_init():
    assert check("def init(sb_json): ...\ndef main(): ...") == [
        "SCRIPT_ERROR: init() missing a required argument: 'sb_json'"
    ]
