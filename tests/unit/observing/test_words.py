"""Names, answers and positions are understood in all their forms."""

from __future__ import annotations

import numpy as np
import pytest

from ska_oso_activity.observing import sky
from ska_oso_activity.observing.errors import NotConfigured
from ska_oso_activity.observing.names import Names
from ska_oso_activity.observing.replies import Reply, Result, read_reply, read_result
from ska_oso_activity.observing.sdp import Identity
from ska_oso_activity.observing.sky import Position

NEW = {
    "SKA_TELESCOPE": "SKA-mid",
    "CENTRALNODE_TRL": "mid-tmc/central-node/0",
    "SUBARRAYNODE_TRL_PREFIX": "mid-tmc/subarray",
}
OLD = {
    "SKA_TELESCOPE": "SKA-Low",
    "CENTRALNODE_FQDN": "ska_low/tm_central/central_node",
    "SUBARRAYNODE_FQDN_PREFIX": "ska_low/tm_subarray_node",
}

# --- Names


def test_the_newer_names_have_two_digits() -> None:
    names = Names.from_environment(NEW)

    assert (names.telescope, names.central_node) == ("mid", "mid-tmc/central-node/0")
    assert names.subarray(1) == "mid-tmc/subarray/01"
    assert names.subarray(16) == "mid-tmc/subarray/16"


def test_the_older_names_have_a_plain_number() -> None:
    names = Names.from_environment(OLD)

    assert (names.telescope, names.central_node) == ("low", "ska_low/tm_central/central_node")
    assert names.subarray(1) == "ska_low/tm_subarray_node/1"


def test_the_newer_variables_win() -> None:
    both = {**OLD, **NEW}

    assert Names.from_environment(both) == Names.from_environment(NEW)


def test_a_trl_keeps_its_host_and_its_option() -> None:
    prefix = "tango://host:1/mid-tmc/subarray#dbase=no"
    names = Names.from_environment({**NEW, "SUBARRAYNODE_TRL_PREFIX": prefix})

    assert names.subarray(2) == "tango://host:1/mid-tmc/subarray/02#dbase=no"


@pytest.mark.parametrize("missing", NEW)
def test_a_missing_variable_is_named(missing: str) -> None:
    environment = {name: value for name, value in NEW.items() if name != missing}

    with pytest.raises(NotConfigured, match=missing):
        Names.from_environment(environment)


@pytest.mark.parametrize("number", [0, 17, -1])
def test_there_are_sixteen_subarrays(number: int) -> None:
    with pytest.raises(ValueError, match="1 to 16"):
        Names.from_environment(NEW).subarray(number)


# --- Answers


@pytest.mark.parametrize(
    ("value", "reply"),
    [
        (None, Reply(True, None, "")),
        ([[2], ["1_2_Scan"]], Reply(True, "1_2_Scan", "1_2_Scan")),
        ([np.array([2], dtype=np.int32), ["1_2_Scan"]], Reply(True, "1_2_Scan", "1_2_Scan")),
        ([[1], ["1_2_Abort"]], Reply(True, "1_2_Abort", "1_2_Abort")),
        ([[0], ["done"]], Reply(True, None, "done")),
        ((2, "1_2_Scan"), Reply(True, "1_2_Scan", "1_2_Scan")),
        ("all right", Reply(True, None, "all right")),
        (0, Reply(True, None, "")),
        ([[5], ["no interface"]], Reply(False, None, "no interface")),
        ([[3], [""]], Reply(False, None, "FAILED")),
        ([], Reply(True, None, "")),
    ],
)
def test_replies_are_understood(value: object, reply: Reply) -> None:
    assert read_reply(value) == reply


@pytest.mark.parametrize(
    ("text", "result", "good"),
    [
        ('[0, "Command Completed"]', Result(0, "Command Completed"), True),
        ('["0", "Command Completed"]', Result(0, "Command Completed"), True),
        ("0", Result(0, ""), True),
        ('"Command Completed"', Result(None, "Command Completed"), True),
        ("Command Completed", Result(None, "Command Completed"), True),
        ('[3, "Exception occurred"]', Result(3, "Exception occurred"), False),
        ("3", Result(3, ""), False),
        ('[7, "Command has been aborted"]', Result(7, "Command has been aborted"), False),
        ('["FAILED", "no dish"]', Result(3, "no dish"), False),
        ("FAILED", Result(3, ""), False),
        ('"ResultCode.REJECTED"', Result(5, ""), False),
        ('["OK", "done"]', Result(0, "done"), True),
    ],
)
def test_results_are_understood(text: str, result: Result, good: bool) -> None:
    assert read_result(text) == result
    assert result.good is good
    assert result.final


def test_a_command_that_is_only_queued_is_not_over() -> None:
    assert not read_result('[2, "queued"]').final


# --- Positions


@pytest.mark.parametrize(
    ("text", "hours", "value"),
    [
        ("16:40:00.0", True, 250.0),
        ("-63:42:45.6", False, -63.7126666667),
        ("-00:30:00", False, -0.5),
        ("+30:00:00.0", False, 30.0),
        ("16h40m00s", True, 250.0),
        ("-72d04m53.2s", False, -72.0814444444),
        ("-72° 04' 53.2\"", False, -72.0814444444),
        ("16 40 00", True, 250.0),
    ],
)
def test_angles_are_read(text: str, hours: bool, value: float) -> None:
    assert sky.degrees(text, hours=hours) == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize(
    "text",
    [
        *("", "north", "1:2:3:4", "10:75:00", "10:00:60", "nan", None, 12.5, "12.5"),
        *("--30:00:00", "+-10:00:00", "1:::2", "1.5:30:0", "1_0:00:00", "12m30s", "٣:00:00"),
    ],
)
@pytest.mark.parametrize("hours", [True, False])
def test_what_is_no_angle_is_refused(text: object, hours: bool) -> None:
    with pytest.raises(ValueError, match="angle"):
        sky.degrees(text, hours=hours)


def test_hours_are_not_degrees() -> None:
    with pytest.raises(ValueError, match="angle"):
        sky.degrees("12d30m00s", hours=True)
    with pytest.raises(ValueError, match="angle"):
        sky.degrees("12h30m00s")


def test_an_offset_to_the_east_grows_with_declination() -> None:
    moved = sky.offset(Position(250.0, 60.0), 3600 / 100, 0.0)

    assert moved.ra - 250.0 == pytest.approx(0.02, rel=1e-4)
    assert moved.dec == pytest.approx(60.0, abs=1e-5)


def test_an_offset_to_the_north_goes_over_the_pole_and_round_the_clock() -> None:
    assert sky.offset(Position(10.0, 89.999), 0.0, 7.2).ra == pytest.approx(190.0)
    assert sky.offset(Position(0.0, 0.0), -36.0, 0.0).ra == pytest.approx(359.99)
    assert sky.offset(Position(10.0, -30.0), 0.0, 36.0).dec == pytest.approx(-29.99)


@pytest.mark.parametrize(
    ("ra", "dec", "text"),
    [
        (250.0, 30.0, "16:40:00.00000 30:00:00.0000"),
        (0.0, -0.5, "00:00:00.00000 -00:30:00.0000"),
        (359.9999999999, -29.99999999999, "00:00:00.00000 -30:00:00.0000"),
    ],
)
def test_positions_are_written(ra: float, dec: float, text: str) -> None:
    assert f"{sky.ra_text(ra)} {sky.dec_text(dec)}" == text


# --- Ids


def test_an_execution_block_is_named_after_its_instance() -> None:
    identity = Identity.of("sbi-t0001-20261125-00003")

    assert identity.eb_id == "eb-t0001-20261125-00003"
    assert [identity.pb_id(n) for n in (1, 2)] == [
        "pb-t0001-20261125-0000301",
        "pb-t0001-20261125-0000302",
    ]


@pytest.mark.parametrize("sbi_id", [None, "sbi-986-opaque"])
def test_without_such_an_instance_the_time_is_taken(sbi_id: str | None) -> None:
    identity = Identity.of(sbi_id)

    assert identity.eb_id.startswith("eb-activity-2")
    assert identity.sbi_id == sbi_id
