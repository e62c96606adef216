"""What ends a command of the command line early: one sentence and an exit code (cli)."""

from __future__ import annotations

FAILED = 1
USAGE = 2
STOPPED = 3
AWAY = 4
INTERRUPTED = 130


class CliError(Exception):
    """Base of all that the command line gives up on; its text is shown to the user as it is.

    Attributes:
        exit_code: of the program.
    """

    exit_code = FAILED


class UsageError(CliError):
    """What was asked makes no sense; nothing was sent."""

    exit_code = USAGE


class Refused(CliError):
    """A device refused the command; nothing was changed."""

    exit_code = USAGE


class DeviceAway(CliError):
    """A device, or the Tango database, does not answer."""

    exit_code = AWAY


class LaunchError(CliError):
    """The stack could not be started; nothing of it is left running."""
