"""ScriptExecution: runs scripts, each in a process of its own, and shows them (devices layer)."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tango.server import command, device_property

from ska_oso_activity.application.script_execution_service import (
    ExecutionSettings,
    ScriptExecutionService,
)
from ska_oso_activity.devices.base import (
    IN_USE,
    AdminMode,
    OsoDevice,
    published,
    set_up_process,
)
from ska_oso_activity.devices.bootstrap import build_script_execution_service
from ska_oso_activity.devices.refusals import as_dev_failed
from ska_oso_activity.devices.start_up import serve
from ska_oso_activity.domain import strict_json
from ska_oso_activity.domain.errors import ExecutorUnavailable
from ska_oso_activity.domain.limits import Limits
from ska_oso_activity.domain.procedure import ProcedureState
from ska_oso_activity.domain.procedure_request import (
    read_output_request,
    read_prepare,
    read_start,
    read_stop,
)
from ska_oso_activity.domain.scheduling_block import path_of_file_uri

_PREPARE_IN = (
    'JSON, e.g. {"request_id": "<a UUID of yours>", "script": {"kind": "filesystem", '
    '"uri": "file:///scripts/observe.py"}, "init_args": {"kwargs": {}}, "subarray_id": 1}'
)
MIB = 1024 * 1024

_SUMMARY_OUT = "JSON: the procedure's summary."


def _telescope_variables(telescope: str, central_node: str, subarray_node: str) -> list[str]:
    """The environment of scripts of one telescope; older scripts know the names with FQDN."""
    return [
        f"SKA_TELESCOPE={telescope}",
        f"CENTRALNODE_TRL={central_node}",
        f"CENTRALNODE_FQDN={central_node}",
        f"SUBARRAYNODE_TRL_PREFIX={subarray_node}",
        f"SUBARRAYNODE_FQDN_PREFIX={subarray_node}",
    ]


class ScriptExecution(OsoDevice):
    """Prepares, starts and stops scripts. procedureEvent tells the story of each."""

    StateDirectory = device_property(
        dtype=str,
        default_value="/var/lib/ska-oso-activity/script-execution",
        doc="Where history, output and the script host's socket are kept; private, never on a "
        "network file system.",
    )
    SchedulingBlockDirectory = device_property(
        dtype=str,
        default_value="/tmp/sbs",  # noqa: S108
        doc="Where scripts find their Scheduling Blocks.",
    )
    ScriptRoots = device_property(
        dtype=(str,), default_value=[], doc="Folders beneath which scripts may lie."
    )
    Repositories = device_property(
        dtype=(str,), default_value=[], doc="URL prefixes of repositories scripts may come from."
    )
    AllowInlineScripts = device_property(
        dtype=bool, default_value=False, doc="Whether blocks may hold the text of scripts."
    )
    AbortScript = device_property(
        dtype=str, default_value="", doc="Path or file:// URI of the script that aborts a subarray."
    )
    AbortScriptArgs = device_property(
        dtype=str, default_value="{}", doc="JSON object: keyword arguments of its main."
    )
    StopGrace = device_property(
        dtype=float, default_value=3.0, doc="Seconds a script has to end when it is stopped."
    )
    MaxProcedures = device_property(
        dtype=int, default_value=128, doc="How many scripts may be unfinished."
    )
    WarmScripts = device_property(
        dtype=int,
        default_value=4,
        doc="How many processes wait for scripts, so that these start at once; 0: each is made on "
        "demand; -1: each script is started as a fresh Python interpreter.",
    )
    MaxAddressSpace = device_property(
        dtype=int,
        default_value=0,
        doc="MiB that each process of a script may map, libraries included (some 250 with Tango "
        "and numpy); 0: no limit.",
    )
    MaxCpuTime = device_property(
        dtype=float,
        default_value=0.0,
        doc="Seconds of processor time of each process of a script; 0: no limit.",
    )
    MaxWallTime = device_property(
        dtype=float,
        default_value=0.0,
        doc="Seconds that a script may run, not counting what it waits, prepared, to be started; "
        "then it is stopped and FAILED with TIMEOUT. 0: no limit.",
    )
    MaxOpenFiles = device_property(
        dtype=int,
        default_value=0,
        doc="Descriptors that each process of a script may have; 0: as many as the server.",
    )
    MaxProcesses = device_property(
        dtype=int,
        default_value=0,
        doc="Processes of the scripts' user, all together, beyond which scripts cannot make more; "
        "root is not bound by it. 0: no limit.",
    )
    MaxOutput = device_property(
        dtype=int,
        default_value=16,
        doc="MiB of output kept of each script, the newest.",
    )
    ScriptUser = device_property(
        dtype=str,
        default_value="",
        doc="User that scripts run as, if the server runs as root; empty: as the server.",
    )
    ScriptEnvironment = device_property(
        dtype=(str,),
        default_value=[],
        doc="Environment variables for all scripts: NAME=value, or the NAME of one of the server's "
        "that scripts do not see by themselves.",
    )
    Telescopes = device_property(
        dtype=(str,), default_value=[], doc="Telescopes whose blocks are run here; empty: all."
    )
    MidEnvironment = device_property(
        dtype=(str,),
        default_value=_telescope_variables("SKA-mid", "mid-tmc/central-node/0", "mid-tmc/subarray"),
        doc="NAME=value: environment of scripts of ska_mid blocks.",
    )
    LowEnvironment = device_property(
        dtype=(str,),
        default_value=_telescope_variables("SKA-low", "low-tmc/central-node/0", "low-tmc/subarray"),
        doc="NAME=value: environment of scripts of ska_low blocks.",
    )
    HistorySize = device_property(
        dtype=int, default_value=1000, doc="How many finished procedures are kept."
    )

    # --- Attributes ----------------------------------------------------------------------------

    procedureState = published(
        "procedureState", dtype=ProcedureState, doc="State of the procedure that changed last."
    )
    procedureId = published(
        "procedureId", dtype="DevLong64", doc="Id of the procedure that changed last; 0: none yet."
    )
    procedureEvent = published(
        "procedureEvent",
        dtype=str,
        doc='The last transition, as JSON: {"epoch", "seq", "time", "procedure_id", "state", ...}.',
    )
    procedures = published(
        "procedures",
        dtype=(str,),
        max_dim_x=100,
        doc="JSON summaries of the unfinished and the newest finished procedures.",
    )
    scriptOutput = published(
        "scriptOutput", dtype=str, doc='New output, as JSON: {"procedure_id", "offset", "lines"}.'
    )
    scriptProgress = published(
        "scriptProgress",
        dtype=str,
        doc='What a script reported, as JSON: {"procedure_id", "progress", "message"}.',
    )
    scriptMessage = published(
        "scriptMessage",
        dtype=str,
        doc='What a script announced, as JSON: {"procedure_id", "message"}.',
    )
    freeSlots = published(
        "freeSlots",
        dtype="DevLong",
        doc="How many more scripts would be taken now; 0 while adminMode takes no new work.",
    )
    processCheck = published(
        "processCheck",
        dtype=str,
        doc='Findings of CheckProcess, as JSON: {"check_id", "valid", "findings"}.',
    )

    # --- Life --------------------------------------------------------------------------------

    _service: ScriptExecutionService | None = None

    def first_values(self) -> dict[str, Any]:
        """See `OsoDevice.first_values`."""
        return {
            **super().first_values(),
            "procedureState": ProcedureState.UNKNOWN,
            "procedureId": 0,
            "procedureEvent": "",
            "procedures": [],
            "scriptOutput": "",
            "scriptProgress": "",
            "scriptMessage": "",
            "processCheck": "",
            "freeSlots": 0,
        }

    def create_component_manager(self) -> None:
        """Build the service; see `bootstrap`."""
        self._service = build_script_execution_service(
            publisher=self.publisher,
            tracker=self.tracker,
            health=self.report_trouble,
            state_directory=Path(self.StateDirectory),
            script_roots=[Path(root) for root in self.ScriptRoots],
            repositories=list(self.Repositories),
            allow_inline=self.AllowInlineScripts,
            block_directory=Path(self.SchedulingBlockDirectory),
            settings=ExecutionSettings(
                grace=self.StopGrace,
                abort_script=_script_path(self.AbortScript),
                abort_args=_abort_args(self.AbortScriptArgs),
                environment=_variables(
                    line if "=" in line else f"{line}={os.environ[line]}"
                    for line in map(str.strip, self.ScriptEnvironment)
                    if "=" in line or line in os.environ
                ),
                limits=Limits(
                    address_space=self.MaxAddressSpace * MIB,
                    cpu_seconds=self.MaxCpuTime,
                    open_files=self.MaxOpenFiles,
                    processes=self.MaxProcesses,
                    output_bytes=self.MaxOutput * MIB,
                    wall_seconds=self.MaxWallTime,
                    user=self.ScriptUser.strip(),
                ),
                environments={
                    "ska_mid": _variables(self.MidEnvironment),
                    "MeerKAT": _variables(self.MidEnvironment),
                    "ska_low": _variables(self.LowEnvironment),
                },
                telescopes=frozenset(self.Telescopes),
                most=self.MaxProcedures,
            ),
            warm=self.WarmScripts,
            keep=self.HistorySize,
        )

    def release_component_manager(self) -> None:
        """Let go of the service; scripts go on."""
        if self._service is not None:
            self._service.close()
            self._service = None

    @property
    def service(self) -> ScriptExecutionService:
        """The service.

        Raises:
            ExecutorUnavailable: it could not be set up; Status says why.
        """
        if self._service is None:
            # To ActivityDevice it is as if nobody answered: nothing was done, it may try again.
            raise ExecutorUnavailable(str(self.not_set_up()))
        return self._service

    def on_admin_mode(self, mode: AdminMode) -> None:
        """Take new work only while in use."""
        if self._service is not None:
            self._service.set_closed(None if mode in IN_USE else f"adminMode is {mode.name}")

    # --- Commands ----------------------------------------------------------------------------

    @command(
        dtype_in=str,
        doc_in=_PREPARE_IN,
        dtype_out=str,
        doc_out='JSON: {"procedure_id": 7, "state": "CREATING"}. The same request_id again gives '
        "the same procedure.",
    )
    def PrepareProcess(self, request: str) -> str:
        with as_dev_failed(self, "PrepareProcess"):
            return strict_json.dumps(self.service.prepare_process(read_prepare(request)))

    @command(
        dtype_in=str,
        doc_in=_PREPARE_IN,
        dtype_out=str,
        doc_out='JSON: {"check_id": "..."}; the findings come in processCheck and by GetCheck.',
    )
    def CheckProcess(self, request: str) -> str:
        with as_dev_failed(self, "CheckProcess"):
            return strict_json.dumps(self.service.check_process(read_prepare(request)))

    @command(
        dtype_in=str,
        doc_in="A check_id.",
        dtype_out=str,
        doc_out='JSON: {"check_id", "valid", "findings"}; valid is null while it goes on.',
    )
    def GetCheck(self, check_id: str) -> str:
        with as_dev_failed(self, "GetCheck"):
            return strict_json.dumps(self.service.get_check(check_id))

    @command(
        dtype_in=str,
        doc_in='JSON, e.g. {"procedure_id": 7, "function": "main", "args": {"kwargs": {}}, '
        '"force_start": false}',
        dtype_out=str,
        doc_out=_SUMMARY_OUT,
    )
    def StartProcess(self, request: str) -> str:
        with as_dev_failed(self, "StartProcess"):
            return strict_json.dumps(self.service.start_process(read_start(request)))

    @command(
        dtype_in=str,
        doc_in='JSON, e.g. {"procedure_id": 7, "run_abort": false}',
        dtype_out=str,
        doc_out=f"{_SUMMARY_OUT} abort_request_id names the abort script that will follow, or "
        "abort_skipped says why none will.",
    )
    def StopProcess(self, request: str) -> str:
        with as_dev_failed(self, "StopProcess"):
            return strict_json.dumps(self.service.stop_process(read_stop(request)))

    @command(
        dtype_in="DevLong64",
        doc_in="A procedure id.",
        dtype_out=str,
        doc_out=f"{_SUMMARY_OUT} output_tail holds its last 50 lines of output.",
    )
    def GetProcess(self, procedure_id: int) -> str:
        with as_dev_failed(self, "GetProcess"):
            return strict_json.dumps(self.service.get_process(procedure_id))

    @command(
        dtype_in=str,
        doc_in='JSON, e.g. {"procedure_id": 7, "offset": 0, "limit": 1000}',
        dtype_out=str,
        doc_out='JSON: {"lines": [{"n", "stream", "time", "text"}], "next_offset", "dropped"}',
    )
    def GetOutput(self, request: str) -> str:
        with as_dev_failed(self, "GetOutput"):
            return strict_json.dumps(self.service.get_output(*read_output_request(request)))

    @command(
        dtype_in="DevLong64",
        doc_in="A seq; 0 for all that are kept.",
        dtype_out=str,
        doc_out="JSON list of procedureEvent values after that seq, oldest first.",
    )
    def EventsSince(self, seq: int) -> str:
        with as_dev_failed(self, "EventsSince"):
            return strict_json.join(self.service.event_texts_since(seq))

    def stop_everything(self, *, tracked: bool) -> str:
        """See `LrcDevice.stop_everything`."""
        return self.service.abort(tracked=tracked)


def _script_path(text: str) -> Path | None:
    text = text.strip()
    if not text:
        return None
    path = path_of_file_uri(text) if text.startswith("file:") else text
    if path is None or not Path(path).is_absolute():
        raise ValueError(f"property AbortScript must be an absolute path, not {text!r}")
    return Path(path)


def _abort_args(text: str) -> dict[str, Any]:
    value = json.loads(text or "{}")
    if not isinstance(value, dict):
        raise TypeError("property AbortScriptArgs must be a JSON object")
    return value


def _variables(lines: Iterable[str]) -> dict[str, str]:
    pairs = (line.partition("=") for line in lines if line.strip())
    return {name.strip(): value for name, _, value in pairs}


def main(args: list[str] | None = None) -> int:
    """Run the device server, as any Tango server is run: `ScriptExecution 01`."""
    set_up_process()
    words = sys.argv[1:] if args is None else args
    return serve(ScriptExecution, words)


if __name__ == "__main__":
    main()
