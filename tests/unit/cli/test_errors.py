"""Every error ends the program with the code that the reference promises."""

import pytest

from ska_oso_activity.cli.errors import LaunchError, UsageError, exit_code_of
from ska_oso_activity.client import (
    AmbiguousDevice,
    CommandFailed,
    CommandForgotten,
    DeviceAway,
    SubarrayBusy,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("no such file"), 2),
        (LaunchError("the port is taken"), 1),
        (SubarrayBusy("subarray 3 is taken"), 2),
        (AmbiguousDevice("several"), 2),
        (DeviceAway("no answer"), 4),
        (CommandFailed("SB_NOT_FOUND: no such block"), 1),
        (CommandForgotten("restarted"), 1),
    ],
    ids=lambda each: type(each).__name__,
)
def test_an_error_has_its_exit_code(error, code):
    assert exit_code_of(error) == code
