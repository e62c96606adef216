"""The port `ScriptHost`, over the script host's socket (adapters layer)."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ska_oso_activity.application.ports import ProcessEnd, ProcessSpec, ScriptHostListener
from ska_oso_activity.domain.arguments import ProcedureInput
from ska_oso_activity.domain.errors import ExecutorUnavailable, Reason
from ska_oso_activity.script_host.protocol import (
    Attachment,
    HostDirectory,
    HostUnavailable,
    LaunchRequest,
    Message,
    OutputReader,
    attach,
    end_survivors,
    passed_on,
    read_ends,
)

IDLE_SECONDS = 60.0
"""How long a host stays without scripts and without a server."""

WARM = 4
"""How many processes wait for scripts."""

ATTACH_SECONDS = 10.0
"""How long a call waits for a host that is being found or started."""

RETRY_SECONDS = 1.0
LOCK_SECONDS = 0.5
"""How long a host that is gone may keep its lock: its descriptors are closed one by one."""

LOG = logging.getLogger(__name__)


class HostClient:
    """Attaches to the host of a directory, starts one where there is none, and again if it is lost.

    The listener is called from one thread, in order. It must not wait for a lock that a caller of
    `launch` holds: that waits while contact is made.
    """

    def __init__(
        self,
        directory: Path,
        listener: ScriptHostListener,
        lifeline_fd: int | None = None,
        *,
        idle_seconds: float = IDLE_SECONDS,
        warm: int = WARM,
    ) -> None:
        """Nothing happens before `open`.

        Args:
            directory: the host's own directory; made if need be.
            lifeline_fd: read end of a pipe; a host that we start ends, with all its scripts, when
                the pipe's last writer is gone.
            idle_seconds: how long a host that we start stays without scripts and servers.
            warm: how many processes wait for scripts; 0: they are made on demand; -1: each script
                is a fresh interpreter.
        """
        self._directory = HostDirectory(directory)
        self._listener = listener
        self._lifeline = lifeline_fd
        self._idle_seconds = idle_seconds
        self._warm = warm
        self._changed = threading.Condition()
        self._attachment: Attachment | None = None
        self._greeted = False
        self._trouble = "it was not attached to yet"
        self._closing = False
        self._seen: dict[int, int] = {}
        self._thread = threading.Thread(target=self._run, name="script-host-client", daemon=True)
        self._handlers: dict[str, Callable[[int, Message], None]] = {
            "state": self._on_state,
            "progress": self._on_progress,
            "message": self._on_message,
            "output": self._on_output,
            "end": self._on_end,
        }

    def open(self) -> None:
        """Make contact, in the background; the listener hears `on_host_attached`."""
        self._thread.start()

    # --- The port

    def launch(self, spec: ProcessSpec) -> None:
        """Make a process and load the script in it."""
        request = LaunchRequest(
            procedure_id=spec.procedure_id,
            script_path=spec.script_path,
            init=spec.init,
            block_path=spec.block_path,
            subarray_id=spec.subarray_id,
            # Our own go along: those of the host are of the server that started it.
            environment={**passed_on(os.environ), **spec.environment},
            python=spec.python,
            grace=spec.grace,
            limits=spec.limits,
        )
        self._wait_attached()
        self._send({"kind": "launch", **request.to_json()})

    def start(self, procedure_id: int, function: str, args: ProcedureInput) -> None:
        """Run a function of a script, as soon as it is ready."""
        self._send(
            {
                "kind": "start",
                "procedure_id": procedure_id,
                "function": function,
                "args": args.to_json(),
            }
        )

    def stop(self, procedure_id: int, grace: float) -> None:
        """Ask, terminate, kill."""
        self._send({"kind": "stop", "procedure_id": procedure_id, "grace": grace})

    def forget(self, procedure_id: int) -> None:
        """Remove the output of a procedure that has ended."""
        self._seen.pop(procedure_id, None)
        attachment = self._attachment
        if attachment is not None:
            try:
                attachment.send({"kind": "forget", "procedure_id": procedure_id})
                return
            except OSError:
                pass
        self._directory.remove(procedure_id)

    def greatest_id(self) -> int:
        """The greatest procedure id that a host of this directory has had; 0 for none."""
        return self._directory.greatest_id()

    def read_output(
        self, procedure_id: int, offset: int, limit: int
    ) -> tuple[list[dict[str, Any]], int, int]:
        """Lines of output from `offset`: (lines, next offset, lines dropped before the oldest)."""
        return self._output(procedure_id).read(offset, limit)

    def output_tail(self, procedure_id: int, lines: int = 50) -> list[dict[str, Any]]:
        """The last lines of output."""
        return self._output(procedure_id).tail(lines)

    def close(self) -> None:
        """Let go of the host; scripts go on."""
        with self._changed:
            self._closing = True
            if self._attachment is not None:
                self._attachment.close()
            self._changed.notify_all()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    # --- Contact

    def _send(self, message: Message) -> None:
        attachment = self._attachment
        if attachment is None:
            raise ExecutorUnavailable(f"the script host cannot be reached: {self._trouble}")
        try:
            attachment.send(message)
        except OSError as error:
            raise ExecutorUnavailable(f"the script host cannot be reached: {error}") from error

    def _wait_attached(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._greeted or self._closing, ATTACH_SECONDS)
            if not self._greeted:
                reason = "it was let go" if self._closing else self._trouble
                raise ExecutorUnavailable(f"the script host cannot be reached: {reason}")

    def _run(self) -> None:
        while not self._closing:
            try:
                attachment = attach(self._directory, self._lifeline, self._idle_seconds, self._warm)
            except HostUnavailable as error:
                LOG.error("%s", error)  # noqa: TRY400 - the text says it all
                self._trouble = str(error)
                with self._changed:
                    self._changed.wait_for(lambda: self._closing, RETRY_SECONDS)
                continue
            replaced = self._follow(attachment)
            if replaced:
                self._trouble = "another server has attached to it"
                LOG.error("another server has attached to the script host: it is left to that one")
                return
            if not self._closing:
                self._look_after_lost_host()

    def _follow(self, attachment: Attachment) -> bool:
        """Deal with what the host says until contact ends; whether another server took over."""
        LOG.info("attached to script host %s", attachment.hello.get("host"))
        with self._changed:
            if self._closing:
                attachment.close()
            self._attachment = attachment
        self._tell("on_host_attached", frozenset(attachment.hello.get("procedures") or ()))
        with self._changed:  # now the listener knows which scripts are there: new ones may follow
            self._greeted = True
            self._changed.notify_all()
        replaced = False
        for batch in attachment.batches():
            replaced = replaced or any(message.get("kind") == "replaced" for message in batch)
            handled = self._handle(batch)
            acks = [{"kind": "ack", "procedure_id": key, "n": n} for key, n in handled.items()]
            try:
                attachment.send(*acks)
            except OSError:
                break
        with self._changed:
            self._attachment = None
            self._greeted = False
            self._trouble = "contact was lost"
        attachment.release()
        return replaced

    def _look_after_lost_host(self) -> None:
        """If the host is gone, and not only the connection: end what it left, and say so."""
        deadline = time.monotonic() + LOCK_SECONDS
        lock = self._directory.try_lock()
        while lock is None and time.monotonic() < deadline:
            time.sleep(0.005)
            lock = self._directory.try_lock()
        if lock is None:
            LOG.warning("the connection to the script host was lost, not the host")
            return
        try:
            LOG.error("the script host is gone")
            left = end_survivors(self._directory)
            if left:
                LOG.error("processes %s of its scripts cannot be killed", left)
            for messages in read_ends(self._directory):
                end = messages[-1]
                if self._handle(messages).get(end["procedure_id"]) == end["n"]:
                    self._directory.end_of(end["procedure_id"]).unlink(missing_ok=True)
            self._tell("on_host_lost")
        finally:
            os.close(lock)

    # --- Events

    def _handle(self, batch: list[Message]) -> dict[int, int]:
        """Hand events over, except repeats.

        Returns:
            The number of the last event that was dealt with, by procedure. One that the listener
            failed on is none; if it was the end, the host tells it to the next who attaches.
        """
        done: dict[int, int] = {}
        for message in batch:
            handler = self._handlers.get(str(message.get("kind")))
            if handler is None:
                continue
            procedure_id, n = message["procedure_id"], message["n"]
            if n > self._seen.get(procedure_id, 0):
                try:
                    handler(procedure_id, message)
                except Exception:
                    LOG.exception("the listener failed on %s", message.get("kind"))
                    continue
                self._seen[procedure_id] = n
            done[procedure_id] = n
        return done

    def _on_state(self, procedure_id: int, message: Message) -> None:
        self._listener.on_process_state(procedure_id, message["state"], message.get("pid"))

    def _on_progress(self, procedure_id: int, message: Message) -> None:
        self._listener.on_progress(procedure_id, message["progress"], message["message"] or "")

    def _on_message(self, procedure_id: int, message: Message) -> None:
        self._listener.on_message(procedure_id, message["message"] or "")

    def _on_output(self, procedure_id: int, message: Message) -> None:
        self._listener.on_output(procedure_id, message["next"])

    def _on_end(self, procedure_id: int, message: Message) -> None:
        self._listener.on_process_end(
            procedure_id,
            ProcessEnd(
                state=message["state"],
                reason=_reason(message.get("reason")),
                error=message.get("error"),
                stacktrace=message.get("stacktrace"),
                result=message.get("result"),
                exit_code=message.get("exit_code"),
                signal=message.get("signal"),
                message=message.get("message") or "",
            ),
        )

    def _tell(self, method: str, *args: Any) -> None:
        try:
            getattr(self._listener, method)(*args)
        except Exception:
            LOG.exception("the listener failed")

    def _output(self, procedure_id: int) -> OutputReader:
        return OutputReader(self._directory.output_of(procedure_id))


def _reason(name: str | None) -> Reason | None:
    if name is None:
        return None
    try:
        return Reason(name)
    except ValueError:  # a host of another release
        return Reason.INTERNAL_ERROR
