"""`ska-oso-activity stop`: stop an activity and wait until it is (cli)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from ska_oso_activity.cli.connection import connect
from ska_oso_activity.cli.console import err, out, printable
from ska_oso_activity.cli.errors import FAILED, INTERRUPTED, UsageError
from ska_oso_activity.cli.options import DeviceOption, JsonOption, TangoHostOption
from ska_oso_activity.client.devices import ActivityDevice, LrcResult
from ska_oso_activity.client.errors import ClientError


def stop(
    activity_id: Annotated[
        int | None, typer.Argument(metavar="[N]", help="Id of an activity.")
    ] = None,
    *,
    subarray: Annotated[
        int | None, typer.Option(min=1, max=16, help="Stop what runs on this subarray.")
    ] = None,
    no_abort: Annotated[
        bool, typer.Option("--no-abort", help="Run no abort script afterwards.")
    ] = False,
    device: DeviceOption = None,
    tango_host: TangoHostOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop an activity; by default the abort script then puts its subarray in order.

    Returns when both are done. Exit code: 0 stopped (or finished before), 1 the abort script
    failed, 2 refused, 4 the device is away.
    """
    if (activity_id is None) == (subarray is None):
        raise UsageError(
            "say what to stop: the id of an activity, or --subarray"
            + (", not both" if subarray is not None else "")
        )
    client = connect(device, tango_host)
    asked = activity_id
    if activity_id is None:
        newest = client.device.activities(subarray_id=subarray, limit=1)
        activity_id = newest[0]["activity_id"] if newest else None
    teller = _Teller(client.device, activity_id)
    try:
        result = client.stop(
            asked, subarray_id=subarray, run_abort=not no_abort, waiting=teller.waiting
        )
    except KeyboardInterrupt:
        if not teller.begun:
            raise
        err.print(f"activity {activity_id} goes on stopping", soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        print(json.dumps({"code": result.code, "text": result.text}))
    else:
        out.print(printable(result.text + teller.abort_run(result)), soft_wrap=True)
    raise typer.Exit(FAILED if result.code else 0)


class _Teller:
    """Says what a stop is busy with."""

    def __init__(self, client: ActivityDevice, activity_id: int | None) -> None:
        self._client, self._activity_id = client, activity_id
        self._said: set[str] = set()

    def waiting(self) -> None:
        """Say it where it is news."""
        self._say(f"stopping activity {self._activity_id}")
        if (self._abort() or {}).get("procedure_id") is not None:
            self._say("running the abort script")

    @property
    def begun(self) -> bool:
        """Whether the stop was accepted."""
        return bool(self._said)

    def abort_run(self, result: LrcResult) -> str:
        """What to add to a good result when the abort script was run."""
        abort = self._abort() if result.text == f"Activity {self._activity_id} STOPPED" else None
        if result.code or not abort or abort.get("procedure_id") is None:
            return ""
        return f"; the abort script was run (procedure {abort['procedure_id']})"

    def _abort(self) -> Mapping[str, Any] | None:
        if self._activity_id is None:
            return None
        try:
            abort: Mapping[str, Any] | None = self._client.activity(self._activity_id).get("abort")
        except ClientError:  # away for now: nothing to say
            return None
        return abort

    def _say(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            err.print(sentence, soft_wrap=True)
