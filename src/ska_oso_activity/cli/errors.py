"""What ends a command of the command line early: one sentence and an exit code (cli)."""

from __future__ import annotations

from ska_oso_activity.client.errors import AmbiguousDevice, ClientError, DeviceAway, Refused

FAILED = 1
USAGE = 2
STOPPED = 3
AWAY = 4
INTERRUPTED = 130


class CliError(Exception):
    """What the command line itself gives up on; its text is shown to the user as it is.

    Attributes:
        exit_code: of the program.
    """

    exit_code = FAILED


class UsageError(CliError):
    """What was asked makes no sense; nothing was sent."""

    exit_code = USAGE


class LaunchError(CliError):
    """The stack could not be started; nothing of it is left running."""


def exit_code_of(error: CliError | ClientError) -> int:
    """The exit code of the program for an error of ours or of the client library."""
    if isinstance(error, CliError):
        return error.exit_code
    if isinstance(error, DeviceAway):
        return AWAY
    return USAGE if isinstance(error, Refused | AmbiguousDevice) else FAILED
