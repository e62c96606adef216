"""What each view makes of the same happenings."""

import io
import json

import pytest
from rich.console import Console

from ska_oso_activity.cli.views import JsonView, LiveView, PlainView, view_for
from ska_oso_activity.client.happenings import (
    Announced,
    Finished,
    Happening,
    Noted,
    OutputWritten,
    Progressed,
    StateChanged,
)
from ska_oso_activity.domain.activity import ActivityState

LINE = {"n": 0, "stream": "stdout", "time": "2026-11-24T22:10:03.123456Z", "text": "[red]hello"}
HAPPENINGS: list[Happening] = [
    StateChanged(7, ActivityState.RUNNING, ActivityState.READY, "2026-11-24T22:10:03.123456Z"),
    OutputWritten(7, (LINE,), lost=3),
    Announced(7, "scan 1"),
    Progressed(7, 50.0, "half way"),
    Noted("the device is away"),
    StateChanged(7, ActivityState.SUCCEEDED, ActivityState.RUNNING, "2026-11-24T22:10:04.123456Z"),
    Finished(7, {"activity_id": 7, "state": "SUCCEEDED"}),
]


def shown_by(make_view, *, terminal):
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=120, highlight=False, markup=False)
    with make_view(console) as view:
        for happening in HAPPENINGS:
            view.show(happening)
    return file.getvalue()


def test_plain_lines_tell_all_in_order():
    shown = shown_by(lambda console: PlainView(console, lambda n: f"[{n}]"), terminal=False)

    assert shown.splitlines() == [
        "[7]  22:10:03.123 READY -> RUNNING",
        "[7]  (3 lines are lost)",
        "[7]  | [red]hello",
        "[7]  scan 1",
        "[7]  50 % half way",
        "the device is away",
        "[7]  22:10:04.123 RUNNING -> SUCCEEDED",
    ]


@pytest.mark.parametrize("keep", [True, False])
def test_a_terminal_shows_lines_above_bars(keep):
    shown = shown_by(
        lambda console: LiveView(console, lambda n: f"[{n}]", keep=keep), terminal=True
    )

    assert "[red]hello" in shown
    assert "22:10:03.123" in shown
    assert ("half way" in shown) or not keep


def test_json_is_one_object_a_line(capsys):
    with JsonView() as view:
        for happening in HAPPENINGS:
            view.show(happening)

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["type"] for line in lines] == [
        *("state", "output", "message", "progress", "note", "state", "finished")
    ]
    assert lines[0]["state"] == "RUNNING"
    assert lines[1]["lines"] == [LINE]


def test_the_view_suits_where_the_output_goes():
    def view(*, terminal, as_json):
        console = Console(file=io.StringIO(), force_terminal=terminal)
        return type(view_for(console, str, as_json=as_json))

    assert view(terminal=True, as_json=False) is LiveView
    assert view(terminal=False, as_json=False) is PlainView
    assert view(terminal=True, as_json=True) is JsonView
