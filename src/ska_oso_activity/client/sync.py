"""The client for programs that wait: runs activities, follows them, stops them (client)."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ska_oso_activity.client.activity_run import ActivityRun
from ska_oso_activity.client.devices import (
    AWAY_LIMIT,
    ActivityDevice,
    LrcResult,
    connect,
)
from ska_oso_activity.client.errors import (
    CommandFailed,
    DeviceAway,
)
from ska_oso_activity.client.follow import Follower
from ska_oso_activity.client.happenings import Finished, Happening, StateChanged
from ska_oso_activity.client.interruption import Interruption, deadline_after
from ska_oso_activity.client.request import (
    Request,
    argument_of,
    identified,
    telling_request_id,
)
from ska_oso_activity.client.retrying import Retrying
from ska_oso_activity.client.tango_device import CALL_TIMEOUT
from ska_oso_activity.client.values import (
    ActivitySummary,
    BlockDescription,
    Validation,
)


class ActivityClient:
    """An ActivityDevice, for programs.

    Nothing is held between calls: no thread, no subscription. Any number of threads may use it; a
    thread that your program made calls it within `tango.EnsureOmniThread`.

    What changes nothing twice (`run`, `stop`) or nothing at all (`validate`, `describe`, following)
    goes on while the device is away for no longer than `patience`; all else fails at once.
    """

    def __init__(
        self,
        device: str | ActivityDevice | None = None,
        *,
        tango_host: str | None = None,
        patience: float = AWAY_LIMIT,
        call_timeout: float = CALL_TIMEOUT,
        on_away: Callable[[DeviceAway], None] = lambda _: None,
    ) -> None:
        """Say which device; it is not asked yet.

        Args:
            device: its name, or its full `tango://` name; None: the only one of the database. One
                that you have made is used as it is.
            tango_host: `HOST:PORT` of the Tango database; None: as TANGO_HOST says. Where the
                environment has no TANGO_HOST, this becomes it: Tango's events look there.
            patience: seconds for which the device may be away, being restarted for example.
            call_timeout: seconds for its answer to one call, 0.001 to 1e6. To connect to a server
                that is frozen Tango takes up to 9 s, whatever this says.
            on_away: told, by the thread that waits, before the device is asked once more.

        Raises:
            DeviceAway: the Tango database does not answer.
            AmbiguousDevice: there are several, and none was named.
            Refused: it is no name of a device, `domain/family/member`.
            ValueError: no such `patience` or `call_timeout`.
        """
        if not patience >= 0:
            raise ValueError(f"patience is a number of seconds from 0 on, and not {patience}")
        self._device = (
            connect(device, tango_host, call_timeout, patience)
            if device is None or isinstance(device, str)
            else device
        )
        self._retrying = Retrying(self._device, patience, on_away, Interruption())

    def interruptible(self, interruption: Interruption) -> ActivityClient:
        """The same client; whatever waits in it ends with `Interrupted` when interrupted."""
        other = copy.copy(self)
        other._retrying = replace(self._retrying, interruption=interruption)
        return other

    @property
    def device(self) -> ActivityDevice:
        """The device itself: JSON in, JSON out, and every failure at once."""
        return self._device

    @property
    def device_name(self) -> str:
        """The device's name."""
        return self._device.device.name

    # Running and stopping

    def run(
        self, request: Request = None, *, timeout: float | None = None, **keys: Any
    ) -> ActivityRun:
        """Send an activity on its way; returns once it is accepted, which takes milliseconds.

        A reply that is lost is asked for again with the same `request_id`: it starts nothing twice.

        Args:
            request: the request whole, or `keys`: those of `ActivityRequest`.
            timeout: seconds to get it accepted; None: `patience`.

        Raises:
            Refused: or the one of its subclasses that says why, such as `NoCapacity` where 100
                activities are not finished; nothing was started.
            DeviceAway: no answer in all that time. It may have been accepted: send it again with
                the same `request_id` to find out; the exception has it, as all that are raised.
        """
        asked = identified(request, keys)
        limit = self._retrying.patience if timeout is None else timeout
        deadline = deadline_after(limit)
        with telling_request_id(asked):
            command_id = self._retrying.surely(
                lambda: self._device.submit("RunActivity", asked), deadline, patience=limit
            )
            return self._run_of(command_id, deadline, until_ready=bool(asked.get("prepare_only")))

    def start(self, activity_id: int, script_args: Mapping[str, Any] | None = None) -> ActivityRun:
        """Run main of an activity that was prepared with `prepare_only` and is READY.

        Raises:
            WrongState, SubarrayBusy: or another `Refused`.
            DeviceAway: no answer; `get` tells whether it runs.
        """
        asked = {"activity_id": activity_id, "script_args": dict(script_args or {})}
        command_id = self._device.submit("StartActivity", asked)
        return self._run_of(command_id, math.inf, until_ready=False)

    def activity(self, key: int | str, *, until_ready: bool = False) -> ActivityRun:
        """An activity that exists, to follow or stop it: after a restart of yours, for example.

        Args:
            key: its id, or one of its command ids.

        Raises:
            UnknownActivity: there is none.
        """
        return self._run_of(str(key), math.inf, until_ready=until_ready)

    def stop(
        self,
        activity_id: int | None = None,
        *,
        subarray_id: int | None = None,
        run_abort: bool = True,
        timeout: float | None = None,
        waiting: Callable[[], None] = lambda: None,
        command_id: str | None = None,
    ) -> LrcResult:
        """Stop an activity, or whatever runs on a subarray, and wait until it is gone.

        Args:
            run_abort: have the executor's abort script put the subarray in order; waited for, too.
            timeout: seconds for all of it; None: however long it takes.
            waiting: called once the stop is accepted, and every second from then on.
            command_id: of its RunActivity; if the number is another activity's, nothing is stopped.

        Returns:
            Code 0 and `Activity 12 STOPPED`; another code if the abort script failed.

        Raises:
            UnknownActivity: there is none, or nothing runs on the subarray.
            DeviceAway: no answer, for longer than `patience` or in all the `timeout`.
            OutOfTime: it goes on stopping, or the `timeout` left no time to send anything.
        """
        if (activity_id is None) == (subarray_id is None):
            raise ValueError("say what to stop: activity_id, or subarray_id")
        which = (
            {"activity_id": activity_id} if subarray_id is None else {"subarray_id": subarray_id}
        )
        argument = {**which, "run_abort": run_abort}
        return self._retrying.complete("StopActivity", argument, timeout, waiting, command_id)

    # Looking

    def validate(
        self, request: Request = None, *, timeout: float | None = None, **keys: Any
    ) -> Validation:
        """Check all that `run` would need; nothing is run, nothing is written.

        Raises:
            Refused: not even a request.
            OutOfTime: no result within `timeout` seconds.
        """
        result = self._retrying.complete("ValidateActivity", argument_of(request, keys), timeout)
        return Validation.of(_report(result))

    def describe(self, block: str, *, timeout: float | None = None) -> BlockDescription:
        """What can be run in a Scheduling Block, named by its id or URI.

        Raises:
            Refused: it cannot be the name of a block.
            CommandFailed: there is no such block, or it cannot be read; `reason` says which.
            OutOfTime: no result within `timeout` seconds.
        """
        return BlockDescription.of(
            _report(self._retrying.complete("DescribeSchedulingBlock", block, timeout), good=True)
        )

    def get(self, key: int | str) -> ActivitySummary:
        """An activity, whole, by its id or one of its command ids.

        Raises:
            UnknownActivity: there is none.
            DeviceAway: no answer.
        """
        return ActivitySummary.of(self._device.activity(key))

    def list(self, **filters: Any) -> list[ActivitySummary]:
        """Activities, the newest first: 100, unless `limit` (1 to 1000) says otherwise.

        The other filters are `state` (an `ActivityState` or its name), `sbd_id`, `subarray_id` and
        `before`, the id below which to go on.

        Raises:
            InvalidRequest: no such filter.
            DeviceAway: no answer.
        """
        return [ActivitySummary.of(each) for each in self._device.activities(**filters)]

    # Following

    def follow(
        self,
        key: int | str | None = None,
        *,
        after_seq: int | None = None,
        epoch: str | None = None,
        offset: int = 0,
        until_ready: bool = False,
        timeout: float | None = None,
    ) -> Iterator[Happening]:
        """All that happens to an activity and all that its script says, to the end of it.

        Restarts of either device are lived through. What was told before is passed over if you say
        how far you came: `after_seq` with its `epoch`, and `offset`.

        Args:
            key: the activity's id, or one of its command ids; None: states of all, for ever.
            after_seq: the last event that you saw; if its epoch is over, all is told again.
            offset: the first line of output that you have not.
            until_ready: READY is as far as it goes.
            timeout: seconds until `OutOfTime`; None: never.

        Raises:
            UnknownActivity, DeviceAway, OutOfTime: see `Follower`.
        """
        deadline = deadline_after(timeout)
        with self._follower(deadline, scripts=True) as follower:
            if key is not None:
                self._retrying.surely(
                    lambda: follower.follow(
                        key,
                        until_ready=until_ready,
                        after_seq=after_seq,
                        epoch=epoch,
                        offset=offset,
                    ),
                    deadline,
                )
            yield from follower

    def states(
        self,
        key: int | str,
        *,
        after_seq: int | None = None,
        epoch: str | None = None,
        until_ready: bool = False,
        timeout: float | None = None,
    ) -> Iterator[StateChanged | Finished]:
        """The same without what the script says, and so without asking the executor."""
        deadline = deadline_after(timeout)
        with self._follower(deadline, scripts=False) as follower:
            self._retrying.surely(
                lambda: follower.follow(
                    key, until_ready=until_ready, after_seq=after_seq, epoch=epoch
                ),
                deadline,
            )
            for happening in follower:
                if isinstance(happening, StateChanged | Finished):
                    yield happening

    def _follower(self, deadline: float, *, scripts: bool) -> Follower:
        def make() -> Follower:
            return Follower(
                self._device,
                scripts=scripts,
                deadline=deadline,
                patience=self._retrying.patience,
                interruption=self._retrying.interruption,
            )

        return self._retrying.surely(make, deadline)

    def _run_of(self, key: str, deadline: float, *, until_ready: bool) -> ActivityRun:
        summary = self._retrying.surely(lambda: self._device.activity(key), deadline)
        return ActivityRun(
            self,
            int(summary["activity_id"]),
            str(summary["command_id"]),
            until_ready=until_ready,
        )


def _report(result: LrcResult, *, good: bool = False) -> dict[str, Any]:
    """The JSON of a result; some failures come as a plain sentence that begins with a code.

    Raises:
        CommandFailed: it is such a sentence.
    """
    if good and result.code:
        raise CommandFailed(result.text)
    try:
        return dict(json.loads(result.text))
    except ValueError:
        raise CommandFailed(result.text) from None
