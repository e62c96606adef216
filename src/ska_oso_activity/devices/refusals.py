"""Errors at the edge: the one place where ours become Tango's, and where each is audited.

Devices layer.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import tango
from tango.server import Device

from ska_oso_activity.devices.publisher import on_the_wire
from ska_oso_activity.domain.control_model import ResultCode
from ska_oso_activity.domain.errors import ActivityError, Reason

_log = logging.getLogger(__name__)
_audit = logging.getLogger("ska_oso_activity.audit")

LongRunning = tuple[list[int], list[str]]
"""What a long-running command returns: `[[code], [text]]`."""


@contextlib.contextmanager
def as_dev_failed(device: Device, command: str) -> Iterator[None]:
    """Let an error of ours reach the client as a DevFailed: its code, and one clear sentence."""
    try:
        yield
    except ActivityError as error:
        audit(device, command, error)
        tango.Except.throw_exception(error.reason.value, on_the_wire(one_line(error)), command)
    except tango.DevFailed:
        raise
    except Exception as error:
        _log.exception("%s", command)
        tango.Except.throw_exception(
            Reason.INTERNAL_ERROR.value,
            on_the_wire(f"{command} failed: {type(error).__name__}: {error}"),
            command,
        )


def accepted(command_id: str) -> LongRunning:
    """The answer to a long-running command that goes ahead."""
    return [int(ResultCode.QUEUED)], [command_id]


def refused(device: Device, command: str, error: Exception) -> LongRunning:
    """The answer to a long-running command that does not."""
    if not isinstance(error, ActivityError):
        _log.error("%s", command, exc_info=error)
        error = ActivityError(f"{command} failed: {type(error).__name__}: {error}")
    audit(device, command, error)
    return [int(ResultCode.REJECTED)], [on_the_wire(f"{error.reason}: {one_line(error)}")]


def audit(device: Device, command: str, error: ActivityError) -> None:
    """One line on who asked for what, and why it was refused."""
    _audit.warning(
        "refused %s to %s: %s: %s", command, client_of(device), error.reason, one_line(error)
    )


def client_of(device: Device) -> str:
    """The client of the command that is being served: host and process, as Tango tells them."""
    try:
        client = device.get_client_ident()
        return f"{client.client_ip} pid {client.client_pid}"
    except (tango.DevFailed, AttributeError, TypeError):
        return "an unknown client"


def one_line(error: Exception) -> str:
    """An error's text as one line without control characters, so that it cannot forge another."""
    return printable(str(error))


def printable(text: str) -> str:
    """Text with its control characters escaped."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )
