"""The port `ScriptHost`, over the script host's socket (adapters layer)."""

from __future__ import annotations

import contextlib
import itertools
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

AWAY_SECONDS = 2.0
"""How long a host may be away, with nothing known to be wrong, before that is told."""

PONG_SECONDS = 2.5
"""How long it may take to answer: long for a host, so that a busy machine raises no alarm."""

RETRY_SECONDS = 1.0
LOCK_SECONDS = 0.5
"""After the end of a connection, how long we wait to see that the host has ended, too."""

ENDING_SECONDS = 10.0
"""The same, if the host has said that it is ending; it may have much to put away."""

LAST_WORDS = frozenset({"replaced", "ending"})
"""Kinds after which the host ends the connection."""

UNHURRIED = frozenset({"state", "output", "pong"})
"""Kinds that are acknowledged with what comes next: a repeat of them changes nothing."""

LOG = logging.getLogger(__name__)


class HostClient:
    """Attaches to the host of a directory, starts one where there is none, and again if it is lost.

    The listener is called from one thread, in order.
    """

    def __init__(
        self,
        directory: Path,
        listener: ScriptHostListener,
        lifeline_fd: int | None = None,
        *,
        idle_seconds: float = IDLE_SECONDS,
        warm: int = WARM,
        last_host: str | None = None,
        on_host: Callable[[str], None] = lambda _: None,
        on_slow: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        """Nothing happens before `open`.

        Args:
            directory: the host's own directory; made if need be.
            lifeline_fd: read end of a pipe; a host that we start ends, with all its scripts, when
                the pipe's last writer is gone.
            idle_seconds: how long a host that we start stays without scripts and servers.
            warm: how many processes wait for scripts; 0: they are made on demand; -1: each script
                is a fresh interpreter.
            last_host: the name of the host that the last life of ours was attached to.
            on_host: told the name of a host before anything is launched there.
            on_slow: told with each `check` why scripts start more slowly than they are meant to;
                None: they do not.
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
        self._is_lasting = False
        self._away_since = time.monotonic()
        self._last_host = last_host
        self._on_host = on_host
        self._on_slow = on_slow
        self._pings = itertools.count(1)
        self._ponged = 0
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

    def check(self) -> None:
        """Look whether scripts can be run; takes up to `PONG_SECONDS`.

        Raises:
            ExecutorUnavailable: they cannot, and not only for the moment that a host takes to come.
        """
        with self._changed:
            attachment = self._attachment if self._greeted else None
            away = 0.0 if attachment else time.monotonic() - self._away_since
            if attachment is None and (self._is_lasting or away > AWAY_SECONDS):
                raise ExecutorUnavailable(f"it cannot be reached: {self._trouble}")
        if attachment is None or not attachment.answers("ping"):
            return
        ping = next(self._pings)
        with contextlib.suppress(OSError):  # then contact is lost, and will be made anew
            attachment.send({"kind": "ping", "ping": ping})
        with self._changed:
            answered = self._changed.wait_for(
                lambda: self._ponged >= ping or self._attachment is not attachment, PONG_SECONDS
            )
        if not answered:
            raise ExecutorUnavailable(f"it has not answered for {PONG_SECONDS:g} s")

    # --- The port

    @property
    def takes_at_once(self) -> bool:
        """Whether there is contact, and sending has not to wait."""
        attachment = self._attachment
        return self._greeted and attachment is not None and attachment.takes_at_once

    def wait_for_contact(self) -> None:
        """Wait while a host is being found or started."""
        with self._changed:
            self._changed.wait_for(lambda: self._greeted or self._closing, ATTACH_SECONDS)
            if not self._greeted:
                reason = "it was let go" if self._closing else self._trouble
                raise ExecutorUnavailable(f"the script host cannot be reached: {reason}")

    def launch(self, spec: ProcessSpec) -> None:
        """Make a process and load the script in it.

        Raises:
            ExecutorUnavailable: there is no contact, or the listener has not heard of it yet: it
                would take the script for one that is unknown to this host, and lost.
        """
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
        self._send({"kind": "launch", **request.to_json()}, greeted=True)

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

    def _send(self, message: Message, *, greeted: bool = False) -> None:
        """Send a message without waiting.

        Args:
            greeted: only to a host that the listener knows of. Starts and stops need not that: to
                a host that does not know the procedure they mean nothing.
        """
        with self._changed:
            attachment = self._attachment if self._greeted or not greeted else None
        if attachment is None:
            raise ExecutorUnavailable(f"the script host cannot be reached: {self._trouble}")
        try:
            attachment.send(message)
        except OSError as error:
            with self._changed:  # who waits for contact now waits for the next
                if self._attachment is attachment:
                    self._greeted = False
                    self._away_since = time.monotonic()
            raise ExecutorUnavailable(f"the script host cannot be reached: {error}") from error

    def _run(self) -> None:
        while not self._closing:
            try:
                attachment = attach(
                    self._directory,
                    self._lifeline,
                    self._idle_seconds,
                    self._warm,
                    given_up=lambda: self._closing,
                )
            except HostUnavailable as error:
                LOG.error("%s", error)  # noqa: TRY400 - the text says it all
                self._wait_after(str(error))
                continue
            except Exception as error:
                LOG.exception("the script host cannot be attached to")
                self._wait_after(f"{type(error).__name__}: {error}")
                continue
            last_word = self._follow(attachment)
            if last_word == "replaced":
                LOG.error("another server has attached to the script host: it is left to that one")
                self._note_trouble(
                    "another server has attached to it, and two cannot share a StateDirectory: "
                    "end that one, then call Init here"
                )
                return
            is_ending = last_word == "ending"
            patience = ENDING_SECONDS if is_ending else LOCK_SECONDS
            while not self._closing:
                try:
                    self._look_after_lost_host(patience)
                except Exception as error:  # the next host is not ours to start before this is done
                    LOG.exception("what the script host has left cannot be looked after")
                    self._wait_after(
                        "its last run cannot be looked after, and the next has to wait for that: "
                        f"{type(error).__name__}: {error}"
                    )
                else:
                    break

    def _note_trouble(self, text: str, *, lasting: bool = True) -> None:
        with self._changed:
            self._trouble = text
            self._is_lasting = lasting

    def _wait_after(self, trouble: str) -> None:
        self._note_trouble(trouble)
        with self._changed:
            self._changed.wait_for(lambda: self._closing, RETRY_SECONDS)

    def _follow(self, attachment: Attachment) -> str | None:
        """Deal with what the host says until contact ends.

        Returns:
            Why it ends, if the host has said so: `replaced` (another server took over), `ending`.
        """
        try:
            return self._hear_out(attachment)
        except Exception:  # an error of ours: contact is made anew
            LOG.exception("contact with the script host is given up")
            return None
        finally:
            with self._changed:
                self._attachment = None
                self._greeted = False
                self._trouble = "contact was lost"
                self._away_since = time.monotonic()
                self._changed.notify_all()
            attachment.release()

    def _hear_out(self, attachment: Attachment) -> str | None:
        LOG.info("attached to script host %s", attachment.hello.get("host"))
        with self._changed:
            if self._closing:
                attachment.close()
            self._attachment = attachment
        host = str(attachment.hello.get("host"))
        known = frozenset(attachment.hello.get("procedures") or ())
        self._tell("on_host_attached", known, same_host=host == self._last_host)
        if host != self._last_host:
            self._last_host = host
            try:
                self._on_host(host)
            except Exception:  # whoever does not remember it knows less later, no worse
                LOG.exception("the name of the script host could not be kept")
        with self._changed:  # now the listener knows which scripts are there: new ones may follow
            self._greeted = True
            self._is_lasting = False
            self._changed.notify_all()
        last_word: str | None = None
        for batch in attachment.batches():
            for message in batch:
                if message.get("kind") in LAST_WORDS:
                    last_word = str(message["kind"])
            handled = self._handle(batch)
            if all(message.get("kind") in UNHURRIED for message in batch):
                continue
            acks = [{"kind": "ack", "procedure_id": key, "n": n} for key, n in handled.items()]
            if acks:
                # If it cannot be told, it is gone; what it said before that is still to be heard.
                with contextlib.suppress(OSError):
                    attachment.send(*acks)
        return last_word

    def _look_after_lost_host(self, patience: float) -> None:
        """If the host is gone, and not only the connection: end what it left, and say so."""
        deadline = time.monotonic() + patience
        lock = self._directory.try_lock()
        while lock is None and time.monotonic() < deadline and not self._closing:
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
            kind = str(message.get("kind"))
            if kind == "pong":
                self._on_pong(message)
            handler = self._handlers.get(kind)
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

    def _on_pong(self, message: Message) -> None:
        with self._changed:
            self._ponged = max(self._ponged, int(message.get("ping") or 0))
            self._changed.notify_all()
        trouble = message.get("trouble")  # a host of an earlier release does not say
        self._on_slow(None if trouble is None else str(trouble))

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

    def _tell(self, method: str, *args: Any, **more: Any) -> None:
        try:
            getattr(self._listener, method)(*args, **more)
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
