"""The reference says what the code says: nothing is missing, and nothing is made up."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

from docs import generate
from ska_oso_activity.application import records
from ska_oso_activity.cli import errors as cli_errors
from ska_oso_activity.cli.main import app
from ska_oso_activity.domain import activity, procedure
from ska_oso_activity.domain.errors import InvalidRequest, Reason
from ska_oso_activity.domain.procedure_request import (
    prepare_to_json,
    read_output_request,
    read_prepare,
    read_start,
    read_stop,
)
from ska_oso_activity.domain.request import (
    ActivityCommand,
    ListRequest,
    StartRequest,
    StopRequest,
)
from tests.docs.pages import DOCS, Block, blocks, page

INTERFACE = DOCS / "reference" / "tango-interface.md"
READERS: dict[str, Callable[[str], Any]] = {
    "ActivityCommand.parse": ActivityCommand.parse,
    "StartRequest.parse": StartRequest.parse,
    "StopRequest.parse": StopRequest.parse,
    "ListRequest.parse": ListRequest.parse,
    "read_prepare": read_prepare,
    "read_start": read_start,
    "read_stop": read_stop,
    "read_output_request": read_output_request,
}


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return generate.fragments()


# --- What is generated ----------------------------------------------------------------------


@pytest.mark.parametrize("name", generate.DEVICES)
def test_every_attribute_command_and_property_is_in_the_reference(name: str, made: dict[str, str]):
    device = generate.DEVICES[name]

    for kind, of_device in {
        "attributes": generate.attributes_of,
        "commands": generate.commands_of,
    }.items():
        text = made[f"{name}-{kind}.md"] + made[f"shared-{kind}.md"]
        assert all(f"| `{each}` |" in text for each in of_device(device))
    text = made[f"{name}-properties.md"]
    assert all(f"| `{each}` |" in text for each in generate.properties_of(device))


def test_everything_that_a_client_sees_is_described():
    for device in generate.DEVICES.values():
        assert all(each.__doc__ for each in generate.attributes_of(device).values())
        assert all(doc for _, doc, *_ in generate.properties_of(device).values())
        for takes, gives, _ in generate.commands_of(device).values():
            assert takes[1]
            assert gives[1]


@pytest.mark.parametrize(
    ("states", "transitions", "name"),
    [
        (activity.ActivityState, activity.TRANSITIONS, "activity"),
        (procedure.ProcedureState, procedure.TRANSITIONS, "procedure"),
    ],
    ids=["activities", "procedures"],
)
def test_every_state_and_transition_is_in_the_tables_and_in_the_diagram(
    states, transitions, name: str, made: dict[str, str]
):
    for state in states:
        assert f"| `{state.name}` | {state.value} | " in made[f"{name}-states.md"]
        assert f"| `{state.name}` | " in made[f"{name}-transitions.md"]
        for following in transitions[state]:
            assert f"    {state.name} --> {following.name}\n" in made[f"{name}-diagram.md"]
    drawn = re.findall(r"(\w+) --> (\w+)", made[f"{name}-diagram.md"])
    assert len(drawn) == sum(map(len, transitions.values()))


def test_every_reason_code_has_its_meaning(made: dict[str, str]):
    assert set(generate.REASONS) == set(Reason)
    listed = re.findall(r"^\| `([A-Z_]+)` \|", made["reasons.md"], re.MULTILINE)
    assert sorted(listed) == sorted(reason.value for reason in Reason)


def test_every_json_key_has_its_meaning():
    columns = generate.key_columns().values()

    assert set(generate.KEYS) == {key for each in columns for keys in each.values() for key in keys}


def test_the_listed_keys_are_those_of_a_real_summary():
    event = {field.name: None for field in fields(procedure.ProcedureEvent)}
    whole = records.procedure_summary({"last_event": event})
    columns = generate.key_columns()["script-execution"]

    assert set(columns["StartProcess, StopProcess"]) == set(whole)
    short = records.procedure_short({"last_event": event})
    assert set(columns["procedures"]) == set(short)


def test_every_command_of_the_command_line_is_in_the_reference(made: dict[str, str]):
    for command in app.registered_commands:
        assert f"### `ska-oso-activity {command.name}`" in made["command-line.md"]


def test_every_exit_code_of_the_command_line_is_in_the_reference():
    codes = {value for name, value in vars(cli_errors).items() if name.isupper()}

    assert set(generate.EXIT_CODES) == codes | {0}


# --- What is written by hand ----------------------------------------------------------------


def test_every_fragment_is_included_somewhere(made: dict[str, str]):
    pages = " ".join(page(f"reference/{each.name}") for each in INTERFACE.parent.glob("*.md"))

    assert set(re.findall(r"\{include\} generated/(\S+)", pages)) == set(made)


@pytest.mark.parametrize(
    "block", [each for each in blocks("json", INTERFACE) if each.before.startswith("%")], ids=str
)
def test_examples_of_requests_are_accepted_by_the_code_that_reads_them(block: Block):
    reader = block.before.removeprefix("% read by: ")

    assert READERS[reader](block.text) is not None


def test_every_request_has_an_example():
    shown = {each.before.removeprefix("% read by: ") for each in blocks("json", INTERFACE)}

    assert set(READERS) <= shown


def test_the_keys_of_a_request_are_those_that_the_code_knows():
    with pytest.raises(InvalidRequest) as refusal:
        ActivityCommand.parse('{"no such key": 1}')
    known = set(str(refusal.value).partition("known are ")[2].split(", "))
    section = page("reference/tango-interface.md").partition("#### RunActivity")[2]
    table = section.partition("| key |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)

    assert {key for row in rows for key in re.findall(r"`(\w+)`", row)} == known


def _keys_in(value: Any) -> set[str]:
    """The keys of JSON, without those that a user chooses: names of activities, kwargs, labels."""
    if isinstance(value, list):
        return {key for each in value for key in _keys_in(each)}
    if not isinstance(value, dict):
        return set()
    open_ended = {"kwargs", "labels", "activities"}
    return set(value) | {
        key for name, each in value.items() if name not in open_ended for key in _keys_in(each)
    }


def test_every_key_of_the_pages_json_is_one_of_the_code():
    prepared = read_prepare('{"request_id": "1", "script": {"kind": "inline", "content": ""}}')
    known = {
        *generate.KEYS,
        *prepare_to_json(prepared),
        *(field.name for field in fields(procedure.BlockContent)),
        *("init", "main", "run", "args", "kwargs", "sb_uri", "before", "limit", "run_abort"),
        *("function", "force_start", "offset", "telescope", "version", "functions"),
        *("kind", "uri", "repo", "branch", "commit", "content"),
        *("n", "stream", "time", "text"),
        *("activities",),
    }

    for block in blocks("json", INTERFACE):
        assert _keys_in(json.loads(block.text)) <= known


def test_the_example_of_an_event_has_all_its_keys():
    example = next(each for each in blocks("json", INTERFACE) if '"previous_state"' in each.text)

    names = [field.name for field in fields(activity.ActivityEvent)]
    assert list(json.loads(example.text)) == names


@pytest.mark.parametrize("device", generate.DEVICES.values(), ids=generate.DEVICES)
def test_properties_that_pages_name_exist(device):
    text = page("reference/configuration.md")
    known = {name for each in generate.DEVICES.values() for name in generate.properties_of(each)}
    bullets = re.findall(r"^- ((?:`\w+`(?:, )?)+):", text, re.MULTILINE)
    cells = re.findall(r"^\| `--.*\| (.*) \|$", text, re.MULTILINE)

    named = {name for part in (*bullets, *cells) for name in re.findall(r"`([A-Z]\w+)`", part)}
    assert named <= known


def test_additions_of_ours_exist():
    text = page("reference/tango-interface.md").partition("## Additions of ours")[2]

    assert "serverStartedAt" in text
    assert "serverStartedAt" in generate.attributes_of(generate.DEVICES["activity-device"])
    assert "main_args" in prepare_to_json(
        read_prepare('{"request_id": "1", "script": {"kind": "inline", "content": ""}}')
    )
