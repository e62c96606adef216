"""All that a client of the script host may use: messages, files, and what is left of a lost host.

The client is `adapters.host_client`. It imports this module and no other of the script host.
"""

from ska_oso_activity.script_host.attaching import (
    Attachment,
    HostUnavailable,
    attach,
)
from ska_oso_activity.script_host.directory import HostDirectory, UnsafeDirectory
from ska_oso_activity.script_host.environment import passed_on
from ska_oso_activity.script_host.journal import read_ends
from ska_oso_activity.script_host.messages import Message
from ska_oso_activity.script_host.output import OutputReader
from ska_oso_activity.script_host.request import LaunchRequest
from ska_oso_activity.script_host.survivors import end_survivors

__all__ = [
    "Attachment",
    "HostDirectory",
    "HostUnavailable",
    "LaunchRequest",
    "Message",
    "OutputReader",
    "UnsafeDirectory",
    "attach",
    "end_survivors",
    "passed_on",
    "read_ends",
]
