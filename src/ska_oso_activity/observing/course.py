"""The course of one command, from its sending to its end: what was heard, and what it means.

Knows neither threads nor clocks nor Tango (observing library).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ska_oso_activity.observing.device import (
    DeviceError,
    EventsLost,
    Heard,
    NotTaken,
    Replied,
    ResultSeen,
    StateSeen,
)
from ska_oso_activity.observing.errors import (
    CommandError,
    CommandFailed,
    ConnectionLost,
    Refused,
    SubarrayAstray,
    TimedOut,
)
from ska_oso_activity.observing.replies import Result, read_reply, read_result
from ska_oso_activity.observing.states import Command, ObsState


@dataclass(frozen=True)
class Patience:
    """How long, in seconds, one thing may lag behind another that it belongs to.

    Attributes:
        words_follow: a result, behind a bad obsState, so that the error has TMC's words.
        result_follows: a result, behind a good obsState that could do without.
        moves_within: the move of a command that ends where it began, behind its answer or result;
            also a move that somebody else has asked for.
        short_by: a scan's end, before the time that was asked for.
        answers: the answer of a device that is there, and busy.
    """

    words_follow: float = 1.0
    result_follows: float = 2.0
    moves_within: float = 1.0
    short_by: float = 1.0
    answers: float = 60.0


@dataclass(frozen=True)
class Errand:
    """What is commanded.

    Attributes:
        device: who gets the command.
        subarray: whose obsState counts.
        seconds: how long all may take.
        least: what it takes at least, such as the duration of a scan.
        results_told: whether the device tells results of long-running commands.
    """

    command: Command
    device: str
    subarray: str
    seconds: float
    least: float = 0.0
    results_told: bool = True


class Doubt(Enum):
    """Why events are not enough, and obsState has to be read."""

    EVENTS_LOST = "events were lost"
    ASTRAY = "obsState is none that the command passes, or the last too early"
    NO_RESULT = "obsState is the last, and no result was heard"
    NO_ID = "the command told no id, and may have moved before we could hear it"
    NOT_SEEN = "obsState on the way was not seen"
    DEADLINE = "time is up"
    FAILED = "the command failed, and obsState may not have told yet"


class Course:
    """Hears what comes, and tells whether the command is over.

    Times are seconds of one clock that only goes forward.

    Attributes:
        state: obsState as last heard or read.
        deadline: when all must be over.
    """

    def __init__(self, errand: Errand, start: ObsState, now: float, patience: Patience) -> None:
        """Begin, right before the command is sent, when obsState is `start`."""
        self.state = start
        self._errand = errand
        self._command = errand.command
        self._device = errand.device
        self._subarray = errand.subarray
        self._start = start
        self._patience = patience
        self._began = now
        self.deadline = now + errand.seconds
        self._replied = False
        self._command_id: str | None = None
        self._id_known = True
        self._results: dict[str, Result] = {}
        self._read: dict[str, Result] = {}  # perhaps of long ago
        self._result_awaited = errand.results_told
        self._result_may_be_missing = errand.command.result_may_be_missing
        self._looked_for_result = False
        self._events_lost = False
        self._words = ""
        self._passed = False
        self._astray_since: float | None = None
        self._at_target_since: float | None = None
        self._over_since: float | None = None
        self._failure: tuple[type[CommandError], str] | None = None
        self._doubt: Doubt | None = None
        self._sure = False

    # What is heard.

    def hear(self, heard: Heard, now: float) -> None:
        """Take in an event, or the answer to the command."""
        if isinstance(heard, StateSeen):
            self._take_state(heard.state, now)
        elif isinstance(heard, ResultSeen):
            self._take_result(heard, now)
        elif isinstance(heard, EventsLost):
            self._doubt = Doubt.EVENTS_LOST
            self._words = heard.text
            if heard.device == self._device:
                self._events_lost = self._result_may_be_missing = True
        elif isinstance(heard, Replied):
            self._take_reply(heard.value, now)
        elif isinstance(heard, NotTaken):
            self._take_refusal(heard.error, now)

    def _take_state(self, state: ObsState, now: float) -> None:
        self.state = state
        way = self._command.through
        undone = self._passed and state is self._start is not self._command.target
        if state in way:
            self._passed = True
        home = {self._start, self._command.target, *way, *self._command.meanwhile}
        if undone or state not in home:
            self._astray_since = now if self._astray_since is None else self._astray_since
        else:
            self._astray_since = None
        if state is not self._command.target:
            self._at_target_since = None
            self._looked_for_result = False
        elif self._at_target_since is None:
            self._at_target_since = now

    def _take_result(self, seen: ResultSeen, now: float) -> None:
        result = read_result(seen.text)
        if not result.good and result.final:
            self._words = str(result)
        if seen.device == self._device and result.final:
            self._results[seen.command_id] = result
            self._note_over(now)

    def _take_reply(self, value: object, now: float) -> None:
        reply = read_reply(value)
        self._replied = True
        if not reply.accepted:
            self._failure = (Refused, f"refused {self._command.name}: {reply.text}")
            return
        self._command_id = reply.command_id
        if reply.command_id is None:
            self._result_awaited = False
            self._doubt = Doubt.NO_ID
        elif self._events_lost:
            self._doubt = Doubt.EVENTS_LOST  # read again, now that the id is known
        self._note_over(now)

    def _take_refusal(self, error: DeviceError, now: float) -> None:
        self._replied = True
        if error.no_reply:
            self._id_known = False
            words = f"no answer to the command itself: {error}"
            self._words = f"{self._words}; {words}" if self._words else words
            if self._device != self._subarray:  # it serves others too: obsState has to do
                self._result_may_be_missing = True
            self._note_over(now)
        elif error.lost:
            text = f"could not be reached for {self._command.name}: {error}"
            text += "; it may have begun all the same"
            self._failure = (ConnectionLost, text)
        else:
            self._failure = (Refused, f"refused {self._command.name}: {error}")

    def _note_over(self, now: float) -> None:
        result = self.result
        if self._over_since is None and (result is not None or not self._result_awaited):
            self._over_since = now
        if result is not None and not result.good:
            text = f"accepted {self._command.name}, which then failed: {result}"
            self._failure = (CommandFailed, text)

    @property
    def result(self) -> Result | None:
        """The command's result, if it has come.

        Where no answer told the id, a result is ours if it is of the subarray itself, which does
        one such command at a time, and of our command. The CentralNode does those of all subarrays.
        """
        if self._command_id is not None:
            return self._results.get(self._command_id) or self._read.get(self._command_id)
        if self._id_known or self._device != self._subarray:
            return None
        ending = f"_{self._command.name}"
        ours = [each for name, each in self._results.items() if name.endswith(ending)]
        return ours[-1] if ours else None

    # What it means.

    def settled(self, now: float) -> bool:
        """Whether the command is over, and well."""
        if self._failure is not None or not self._replied or self.state is not self._command.target:
            return False
        if self._early_since is not None:
            return False
        if self._over_since is None and not self._goes_without_result(now):
            return False
        return self._passed or self._start is not self._command.target or self._sure

    def _goes_without_result(self, now: float) -> bool:
        until = self._result_follows_until
        return until is not None and now >= until and self._looked_for_result

    @property
    def _result_follows_until(self) -> float | None:
        """When obsState is taken for the end though no result has come."""
        moved = self._passed or self._start is not self._command.target
        if not self._result_may_be_missing or not moved or self._at_target_since is None:
            return None
        return self._at_target_since + self._patience.result_follows

    @property
    def _told_no_id(self) -> bool:
        """Whether the device answered, and goes about nothing that has an id."""
        return self._replied and self._command_id is None and self._id_known

    def _too_early(self, time: float) -> bool:
        return time < self._began + self._errand.least - self._patience.short_by

    @property
    def _early_since(self) -> float | None:
        """Since when all seems over that should still go on.

        A device that answers when all is done counts no time down, and is never too early.
        """
        back = self._at_target_since
        if back is None or not self._passed or not self._replied or self._told_no_id:
            return None
        return back if self._too_early(back) else None

    @property
    def _wrong_until(self) -> float | None:
        """When a wrong obsState is believed, as no words of TMC have come."""
        since = self._early_since if self._astray_since is None else self._astray_since
        return None if since is None else since + self._patience.words_follow

    def doubt(self, now: float) -> Doubt | None:
        """Why obsState has to be read now, if it has to."""
        if self._failure is not None:
            return Doubt.FAILED
        if self._doubt is not None:
            return self._doubt
        if now >= self.deadline:
            return Doubt.DEADLINE
        if self._wrong_until is not None and now >= self._wrong_until:
            return Doubt.ASTRAY
        if self._unseen_until is not None and now >= self._unseen_until:
            return Doubt.NOT_SEEN
        if self._look_at is not None and now >= self._look_at:
            return Doubt.NO_RESULT
        return None

    @property
    def _look_at(self) -> float | None:
        """When a result that was not heard is looked for, before obsState has to do."""
        if not self._replied or self._over_since is not None or self._looked_for_result:
            return None
        return self._result_follows_until

    @property
    def _unseen_until(self) -> float | None:
        """When obsState, back where it began, is taken to have been away unseen."""
        back = self._start is self.state is self._command.target
        if self._passed or self._over_since is None or not back:
            return None
        moves = self._told_no_id or self._errand.least > 0
        until = self._over_since + (self._patience.moves_within if moves else 0.0)
        if self._too_early(until) and not self._told_no_id:
            return until  # it should be under way, and to be seen
        return max(until, self._began + self._errand.least)

    def wakes(self) -> float:
        """Until when there is nothing to do unless something is heard."""
        times = (self.deadline, self._wrong_until, self._unseen_until, self._look_at)
        return min(time for time in times if time is not None)

    def clear_up(
        self, doubt: Doubt, state: ObsState, last: tuple[str, str] | None, now: float
    ) -> None:
        """Take in what was read because of a doubt: obsState, and the device's last result.

        Raises:
            CommandError: now it is certain that the command did not go well.
        """
        self._doubt = None
        self._take_state(state, now)
        if doubt in (Doubt.NO_RESULT, Doubt.DEADLINE):
            self._looked_for_result = True
        if last is not None and (result := read_result(last[1])).final:
            self._read[last[0]] = result
            self._note_over(now)
        if self._failure is not None:
            raise self._of(*self._failure)
        if doubt in (Doubt.EVENTS_LOST, Doubt.ASTRAY) and self._astray_since is not None:
            raise self._of(SubarrayAstray, self._astray_text())
        elif doubt is Doubt.ASTRAY and self._early_since is not None:
            raise self._of(SubarrayAstray, self._early_text(self._early_since))
        elif doubt is Doubt.NOT_SEEN and state is self._command.target:
            if self._too_early(now):
                raise self._of(SubarrayAstray, self._early_text(now))
            self._sure = True
        elif doubt is Doubt.DEADLINE:
            self._sure = True
            if not self.settled(now):
                raise self._of(TimedOut, self._late_text())

    def lost(self, doubt: Doubt, device: str, error: DeviceError) -> CommandError:
        """The error for a device that does not answer when it is asked because of a doubt."""
        if doubt is Doubt.FAILED and self._failure is not None:
            return self._of(*self._failure)
        silent = error.lost or error.no_reply
        what = "does not answer any more" if silent else "cannot be read"
        text = f"{what}, during {self._command.name}: {error}"
        return self._of(ConnectionLost, text, device)

    @property
    def _last_words(self) -> str:
        return f"; TMC's last words: {self._words}" if self._words else ""

    def _early_text(self, time: float) -> str:
        took, least = time - self._began, self._errand.least
        name = self._command.name
        asked = f"was over with {name} after {took:.1f} s, and {least:g} s were asked for"
        why = "did somebody send EndScan?" if self._passed else "obsState was not seen to change"
        return f"{asked} ({why}){self._last_words}"

    def _astray_text(self) -> str:
        why = " (was it restarted?)" if self.state is ObsState.EMPTY else ""
        became = f"when {self._subarray} became {self.state.name}{why}"
        return f"was doing {self._command.name} {became}{self._last_words}"

    def _late_text(self) -> str:
        waited = f"{self._command.name} was not over after {self._errand.seconds:g} s"
        awaited = []
        if self.state is not self._command.target:
            awaited.append(f"obsState {self._command.target.name}")
        if self._over_since is None:
            named = f" of {self._command_id}" if self._command_id else ""
            awaited.append(f"the result{named}")
        last = f"; last message: {self._words}" if self._words else ""
        return f"{waited}: awaited {' and '.join(awaited) or 'the reply'}{last}"

    def _of(self, kind: type[CommandError], text: str, device: str | None = None) -> CommandError:
        name = device or self._device
        unknown = kind is ConnectionLost and name == self._subarray
        known = "was last" if unknown else "is"
        return kind(
            f"{name} {text}. {self._subarray} {known} {self.state.name}",
            command=self._command.name,
            device=name,
            obs_state=self.state,
        )
