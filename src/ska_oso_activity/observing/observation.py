"""An observation from its Scheduling Block to its last scan (observing library)."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping
from typing import Any

from ska_oso_activity import script
from ska_oso_activity.observing import cdm_low, cdm_mid
from ska_oso_activity.observing.block import DAY, Block, read_block
from ska_oso_activity.observing.errors import NotConfigured, WrongState
from ska_oso_activity.observing.names import Telescope
from ska_oso_activity.observing.part import is_number
from ska_oso_activity.observing.sdp import Identity
from ska_oso_activity.observing.states import ObsState
from ska_oso_activity.observing.steps import Step
from ska_oso_activity.observing.subarray import Subarray

LOG = logging.getLogger(__name__)
Json = dict[str, Any]
_CDM = {"mid": cdm_mid, "low": cdm_low}
LAST_SCAN_ID = 2**31 - 1
"""Above it an id does not fit Tango's DevLong, in which devices show it."""
MAY_OBSERVE = frozenset({ObsState.IDLE, ObsState.READY})


class Observation:
    """All that the telescope is sent for a block, worked out before the first command."""

    def __init__(
        self,
        document: Mapping[str, Any],
        *,
        sbi_id: str | None = None,
        seconds_per_scan: float | None = None,
        first_scan_id: int = 1,
    ) -> None:
        """Translate a block.

        Args:
            document: its JSON.
            sbi_id: of the Scheduling Block Instance, after which the execution block is named.
            seconds_per_scan: what each scan takes instead of what the block says.
            first_scan_id: scan ids count from here. Give another where the subarray has made scans
                with its present resources before.

        Raises:
            Untranslatable: the block asks for something that is not supported.
            ValueError: scans cannot take that long, or have such an id.
        """
        seconds, first = seconds_per_scan, first_scan_id
        if seconds is not None and not (is_number(seconds) and 0 <= seconds <= DAY):
            raise ValueError(f"seconds_per_scan is {seconds!r}; supported: a number, 0 to {DAY:g}")
        if type(first) is not int or not 1 <= first <= LAST_SCAN_ID:
            supported = f"a whole number, 1 to {LAST_SCAN_ID}"
            raise ValueError(f"first_scan_id is {first!r}; supported: {supported}")
        self._scan_ids = itertools.count(first)
        self._noted = False
        self.identity = Identity.of(sbi_id)
        block = read_block(document)
        self.block: Block = block if seconds is None else block.with_duration(float(seconds))
        self.cdm = _CDM[self.block.telescope]
        self.assign_request: Json = self.cdm.assign(self.block, self.identity)
        self.steps: tuple[Step, ...] = self.cdm.steps(self.block)

    @property
    def receptors(self) -> list[str]:
        """The dishes, or the stations."""
        return list(self.block.dishes) or [f"station {each}" for each in self.block.stations]

    def allocate(self, subarray: Subarray) -> Json:
        """Assign to the subarray what the block wants; returns what that is.

        Raises:
            WrongState: the subarray is neither EMPTY nor IDLE.
            CommandError: the CentralNode did not do it.
        """
        self._check(subarray)
        receptors = self.receptors
        subarray.assign(self.assign_request)
        script.announce(f"subarray {subarray.id} has {', '.join(receptors)}")
        return {"receptors": receptors, "eb_id": self.identity.eb_id}

    def observe(self, subarray: Subarray) -> Json:
        """Configure and make all scans, then End; returns what was observed.

        Tells announcements and progress, step by step.

        Raises:
            WrongState: the subarray is neither IDLE nor READY.
            CommandError: one of the commands did not do its work.
        """
        self._check(subarray)
        state = subarray.obs_state
        if state not in MAY_OBSERVE:
            raise WrongState.of("An observation", subarray.name, state, MAY_OBSERVE)
        for number, step in enumerate(self.steps, start=1):
            script.announce(f"{step.label}, {round(step.duration, 2):g} s")
            subarray.configure(step.configure)
            subarray.scan(self.next_scan(), step.duration)
            script.progress(number / len(self.steps), f"{step.label}, done")
        subarray.end()
        targets = list(dict.fromkeys(name for step in self.steps for name in step.targets))
        scans = max(step.scan for step in self.steps)
        return {"scans": scans, "pointings": len(self.steps), "targets": targets}

    def next_scan(self) -> Json:
        """The argument of the next Scan; its id is one more than that of the last."""
        request: Json = self.cdm.scan(next(self._scan_ids))
        return request

    def release(self, subarray: Subarray) -> None:
        """Take all resources from the subarray, which must be IDLE."""
        release(subarray)

    def _check(self, subarray: Subarray) -> None:
        """Refuse the wrong telescope, and say what of the block is not taken literally."""
        ours, theirs = self.block.telescope, subarray.names.telescope
        if ours != theirs:
            raise NotConfigured(
                f"the block is for ska_{ours}, and SKA_TELESCOPE in the script's environment "
                f"names {theirs}"
            )
        notes, self._noted = () if self._noted else self.block.notes, True
        for note in notes:
            LOG.warning(note)
            script.announce(note)


def release(subarray: Subarray) -> None:
    """Take all resources from a subarray, which must be IDLE; no block is needed.

    Raises:
        WrongState: the subarray is not IDLE.
        CommandError: the CentralNode did not do it.
    """
    telescope: Telescope = subarray.names.telescope
    subarray.release(_CDM[telescope].release())
    script.announce(f"subarray {subarray.id} is released")
