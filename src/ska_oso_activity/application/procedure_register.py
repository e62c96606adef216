"""The register of procedures: the one place where they are created and changed.

Application layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ska_oso_activity.application.ports import History, Publisher
from ska_oso_activity.application.records import (
    procedure_record,
    procedure_short,
    procedure_summary,
    read_procedure,
)
from ska_oso_activity.application.register import Register
from ska_oso_activity.domain import strict_json
from ska_oso_activity.domain.errors import UnknownActivity
from ska_oso_activity.domain.procedure import Procedure, ProcedureState
from ska_oso_activity.domain.times import utc_now


class ProcedureRegister(Register[Procedure]):
    """All procedures of one ScriptExecution device.

    Args:
        on_forget: called with a procedure's id and its block's file when its record is removed.
    """

    view_name = "procedures"

    def __init__(
        self,
        history: History,
        publisher: Publisher,
        on_disk_health: Callable[[str | None], None] = lambda _: None,
        on_forget: Callable[[int, str | None], None] = lambda _, __: None,
    ) -> None:
        super().__init__(history, publisher, on_disk_health)
        self._on_forget = on_forget
        self.room: Callable[[], int] = lambda: 0
        """How many more procedures would be taken now."""
        self._of_request: dict[str, int] = {}
        self._block_paths: dict[int, str] = {}

    # --- Creating and changing ---------------------------------------------------------------

    def create(self, procedure_of: Callable[[int], Procedure]) -> Procedure:
        """Take in a new procedure: CREATING.

        Raises:
            NoSpace: the disk takes no record; nothing was created and no id used.
        """
        with self.lock:
            procedure = procedure_of(self._next_id)
            event = self._transition(procedure, ProcedureState.CREATING)
            self._accept(procedure, event, durable=False)
            return procedure

    def create_anyway(self, procedure_of: Callable[[int], Procedure]) -> Procedure:
        """Take in a procedure that must not be refused; it is told once the disk takes it."""
        with self.lock:
            procedure = procedure_of(self._next_id)
            self._next_id += 1
            event = self._transition(procedure, ProcedureState.CREATING)
            self._live[procedure.procedure_id] = procedure
            self._append(procedure, event, durable=True)  # it is started without more ado
            return procedure

    def change(self, procedure: Procedure, state: ProcedureState) -> None:
        """Move a procedure to another state: recorded, then told.

        Raises:
            StateMachineError: the table has no such transition.
        """
        with self.lock:
            event = self._transition(procedure, state)
            self._append(procedure, event, durable=procedure.finished)

    def report(self, procedure: Procedure, attribute: str, report: Mapping[str, Any]) -> None:
        """Tell what a script reports; it is kept with the next record."""
        with self.lock:
            self._publisher.publish([(attribute, strict_json.dumps(report))])
            self._report(procedure.procedure_id, procedure.progress, procedure.message)

    def _transition(self, procedure: Procedure, state: ProcedureState) -> dict[str, Any]:
        event = procedure.change_state(
            state, epoch=self._journal.epoch, seq=self._journal.next_seq, time=utc_now()
        )
        procedure.last_event = dict(vars(event))
        return procedure.last_event

    # --- What is told ------------------------------------------------------------------------

    def _event_pushes(self, event: Mapping[str, Any]) -> list[tuple[str, Any]]:
        return [
            ("procedureId", event["procedure_id"]),
            ("procedureState", ProcedureState[event["state"]]),
            ("procedureEvent", strict_json.dumps(event)),
        ]

    def _other_values(self) -> list[tuple[str, Any]]:
        return [("freeSlots", self.room())]

    # --- Looking up --------------------------------------------------------------------------

    def of_request(self, request_id: str) -> int | None:
        """The procedure that was made for a `request_id`."""
        return self._of_request.get(request_id)

    def summary(self, procedure_id: int) -> dict[str, Any]:
        """What StartProcess and StopProcess give.

        Raises:
            UnknownActivity: there is none.
        """
        return procedure_summary(self.known_record(procedure_id))

    def known_record(self, procedure_id: int) -> dict[str, Any]:
        """The record of a procedure.

        Raises:
            UnknownActivity: there is none.
        """
        record = self.record_of(procedure_id)
        if record is None:
            raise UnknownActivity(f"no procedure has the id {procedure_id}: {self.known()}")
        return record

    # --- Hooks of Register -------------------------------------------------------------------

    def _key(self, entity: Procedure) -> int:
        return entity.procedure_id

    def _read(self, record: Mapping[str, Any]) -> Procedure:
        return read_procedure(record)

    def _record(self, entity: Procedure) -> dict[str, Any]:
        return procedure_record(entity)

    def _shorten(self, record: Mapping[str, Any]) -> dict[str, Any]:
        return procedure_short(record)

    def _is_over(self, entity: Procedure) -> bool:
        return entity.finished

    def _index(self, entity: Procedure, state: str) -> None:  # noqa: ARG002
        self._of_request[entity.request_id] = entity.procedure_id
        if entity.block_path is not None:
            self._block_paths[entity.procedure_id] = entity.block_path

    def _retired(self, entity: Procedure) -> None:
        """Nothing is indexed for live procedures alone."""

    def _forget(self, short: Mapping[str, Any]) -> None:
        self._of_request.pop(short["request_id"], None)
        procedure_id = int(short["procedure_id"])
        self._on_forget(procedure_id, self._block_paths.pop(procedure_id, None))
