"""Planner: works out what a request means, from the block to the arguments (application layer)."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, replace
from typing import Any

from ska_oso_activity.application.ports import Archive, BlockReader
from ska_oso_activity.domain.arguments import (
    FunctionArguments,
    ProcedureInput,
    combine,
    main_arguments,
    on_subarray,
    subarray_in,
)
from ska_oso_activity.domain.errors import ActivityError, SchedulingBlockInvalid
from ska_oso_activity.domain.procedure import BlockContent, PrepareProcessCommand
from ska_oso_activity.domain.request import ActivityCommand
from ska_oso_activity.domain.scheduling_block import BlockReference, SchedulingBlock
from ska_oso_activity.domain.script import GitScript, Script

LARGE_BLOCK = 512 * 1024
"""Characters from which a block counts as large; real ones have some 10 000."""


@dataclass(frozen=True)
class Plan:
    """What is to be run: everything that the block and the request say together."""

    block: SchedulingBlock
    script: Script
    arguments: FunctionArguments
    subarray_id: int | None

    def command(self, request_id: str, labels: dict[str, Any]) -> PrepareProcessCommand:
        """The command that prepares it."""
        return PrepareProcessCommand(
            request_id=request_id,
            script=self.script,
            init_args=self.arguments.get("init", ProcedureInput()),
            scheduling_block=BlockContent(
                self.block.sbd_id, self.block.version, self.block.content
            ),
            subarray_id=self.subarray_id,
            telescope=self.block.telescope,
            labels=labels,
            main_args=main_arguments(self.arguments),
        )


class Planner:
    """Works out what a request means; changes nothing."""

    def __init__(self, archive: Archive, blocks: BlockReader) -> None:
        self._archive = archive
        self._blocks = blocks
        # Reading one takes the interpreter for itself for a while: never several at a time.
        self._one_large_block = threading.Lock()

    def block(self, reference: BlockReference) -> SchedulingBlock:
        """Fetch and read a block.

        Raises:
            SchedulingBlockNotFound, SchedulingBlockInvalid, OdaUnavailable.
        """
        fetched = self._archive.fetch(reference)
        large = len(fetched.content) > LARGE_BLOCK
        with self._one_large_block if large else contextlib.nullcontext():
            return self._blocks.read_scheduling_block(fetched, reference)

    def describe(self, reference: BlockReference) -> dict[str, Any]:
        """What can be run in a block; raises as `block` does."""
        return self._blocks.describe(self.block(reference))

    def plan(
        self,
        reference: BlockReference,
        activity_name: str,
        script_args: FunctionArguments,
        *,
        subarray_id: int | None,
        create_env: bool,
    ) -> Plan:
        """What is to be run.

        Args:
            subarray_id: the lane as far as it is known; None: the block may name it.

        Raises:
            ActivityError: the block, the activity or the arguments are not as they must be.
        """
        block = self.block(reference)
        found = self._blocks.find_activity(block, activity_name)
        script = found.script
        if create_env and isinstance(script, GitScript):
            script = replace(script, create_env=True)
        combined = combine(found.function_args, script_args)
        if subarray_id is None:
            try:
                subarray_id = subarray_in(combined)
            except ActivityError as error:
                raise SchedulingBlockInvalid(f"activity {activity_name!r}: {error}") from error
        return Plan(block, script, on_subarray(combined, subarray_id), subarray_id)

    def plan_command(self, command: ActivityCommand, subarray_id: int | None) -> Plan:
        """The same for a request that is only to be validated."""
        return self.plan(
            command.block,
            command.activity_name,
            command.script_args,
            subarray_id=subarray_id,
            create_env=command.create_env,
        )
