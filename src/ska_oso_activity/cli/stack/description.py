"""The one description of our devices: launcher and dsconfig files are both made from it (cli)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from ska_oso_activity.cli.errors import UsageError


class Telescope(str, Enum):
    """The telescope that our devices are named for."""

    MID = "mid"
    LOW = "low"


@dataclass(frozen=True)
class Places:
    """What a site chooses; all paths are absolute.

    Attributes:
        state: directory of all durable files.
        oda: directory of the filesystem ODA.
        scripts: directories that scripts may come from.
        repositories: URL prefixes of the git repositories that scripts may come from.
    """

    state: Path
    oda: Path
    scripts: tuple[Path, ...] = ()
    repositories: tuple[str, ...] = ()

    @property
    def abort_script(self) -> Path | None:
        """The `abort.py` of the first directory of scripts that has one."""
        candidates = (directory / "abort.py" for directory in self.scripts)
        return next((path for path in candidates if path.is_file()), None)


@dataclass(frozen=True)
class Device:
    """A device as the Tango database knows it.

    Attributes:
        device_class: class, and name of the server that has it unless `program` is.
        instance: instance of that server.
        properties: an empty list is a property that is not set.
        program: name of a server that has devices of several classes.
    """

    name: str
    device_class: str
    instance: str
    properties: Mapping[str, list[str]]
    program: str = ""

    @property
    def program_name(self) -> str:
        """The name of the server's program, such as `ActivityDevice`."""
        return self.program or self.device_class

    @property
    def server(self) -> str:
        """The server's full name, such as `ActivityDevice/01`."""
        return f"{self.program_name}/{self.instance}"


def script_execution_device(telescope: Telescope, places: Places) -> Device:
    """The device that runs scripts."""
    return Device(
        f"{telescope.value}-oso/script-execution/01",
        "ScriptExecution",
        "01",
        {
            "ScriptRoots": [str(path) for path in places.scripts],
            "Repositories": list(places.repositories),
            "StateDirectory": [str(places.state / "script-execution")],
            "SchedulingBlockDirectory": [str(places.state / "sbs")],
        },
    )


def activity_device(telescope: Telescope, places: Places) -> Device:
    """The device that accepts requests."""
    return Device(
        f"{telescope.value}-oso/activity/01",
        "ActivityDevice",
        "01",
        {
            "ScriptExecutionDevices": [script_execution_device(telescope, places).name],
            "SubarrayId": ["0"],
            "OdaDirectory": [str(places.oda)],
            "SchedulingBlockRoots": [str(path) for path in (places.oda, *places.scripts)],
            "StateDirectory": [str(places.state / "activity")],
        },
    )


def our_devices(telescope: Telescope, places: Places) -> list[Device]:
    """All our devices of one telescope, in the order in which their servers are started.

    Raises:
        UsageError: a path or URL holds characters that a Tango property cannot.
    """
    devices = [script_execution_device(telescope, places), activity_device(telescope, places)]
    for device in devices:
        for name, values in device.properties.items():
            for value in values:
                _refuse_beyond_latin_1(name, value)
    return devices


def dsconfig(devices: Sequence[Device]) -> dict[str, Any]:
    """The devices in the layout that dsconfig's `json2tango` reads."""
    servers: dict[str, Any] = {}
    for device in devices:
        set_properties = {name: values for name, values in device.properties.items() if values}
        instances = servers.setdefault(device.program_name, {})
        classes = instances.setdefault(device.instance, {})
        of_class = classes.setdefault(device.device_class, {})
        of_class[device.name] = {"properties": set_properties}
    return {"servers": servers}


def _refuse_beyond_latin_1(name: str, value: str) -> None:
    try:
        value.encode("latin-1")
    except UnicodeEncodeError as error:
        raise UsageError(
            f"{value!r} holds the character {value[error.start]!r}, which no Tango property can "
            f"({name}): use a path of latin-1 characters"
        ) from None
