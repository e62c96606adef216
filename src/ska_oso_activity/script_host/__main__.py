"""`python -m ska_oso_activity.script_host`: runs a script host (script host)."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import secrets
import signal
import sys
import traceback
from logging.handlers import RotatingFileHandler
from pathlib import Path

from ska_oso_activity.script_host.directory import HostDirectory, HostIdentity
from ska_oso_activity.script_host.host import IDLE_SECONDS, Host
from ska_oso_activity.script_host.linux import adopt_orphans
from ska_oso_activity.script_host.loop import Loop
from ska_oso_activity.script_host.pool import WARM
from ska_oso_activity.script_host.procfs import machine_identity
from ska_oso_activity.script_host.survivors import end_survivors
from ska_oso_activity.script_host.sweep import kill_own_descendants

LOG_LIMIT = 1024 * 1024
"""Size at which a new log file is begun, in bytes; one old one is kept."""

LOG = logging.getLogger("ska_oso_activity.script_host")


def main() -> int:
    """Run a host in its directory until it is asked to end, or idle for long."""
    options = _parse()
    _close_inherited(keep={options.lifeline})
    _reset_signals()
    ready = _detach() if options.detach else -1
    directory = HostDirectory(options.directory)
    directory.create()
    umask = os.umask(0o077)
    lock = directory.try_lock()
    if lock is None:
        sys.stderr.write(f"a script host owns {directory.path} already\n")
        _tell_ready(ready)
        return 0
    _log_to(directory, quiet=options.detach)
    left = end_survivors(directory)
    if left:
        LOG.error("processes %s of the last host cannot be killed", left)
    name = secrets.token_hex(8)
    directory.write_identity(HostIdentity(name, os.getpid(), machine_identity()))
    adopt_orphans()

    loop = Loop()
    host = Host(
        loop,
        directory,
        name,
        umask=umask,
        idle_seconds=options.idle_seconds,
        warm=options.warm,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.on_signal(number, host.terminate)
    if options.lifeline is not None:
        _hold(loop, options.lifeline, host)
    LOG.info("script host %s, process %d, in %s", name, os.getpid(), directory.path)
    _tell_ready(ready)
    loop.run()
    host.close()
    kill_own_descendants()  # what has waited for scripts ends by itself, but later than we
    directory.write_identity(None)
    LOG.info("ended")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ska_oso_activity.script_host")
    parser.add_argument("--directory", type=Path, required=True, help="what the host keeps is here")
    parser.add_argument(
        "--lifeline",
        type=int,
        metavar="FD",
        help="read end of a pipe: when its last writer is gone, everything is killed at once",
    )
    parser.add_argument(
        "--detach",
        action="store_true",
        help="go on in the background, once the host can be reached",
    )
    parser.add_argument(
        "--idle-seconds",
        type=float,
        default=IDLE_SECONDS,
        help="end after so long without a script and a server (default: %(default)g)",
    )
    parser.add_argument(
        "--warm",
        type=int,
        default=WARM,
        metavar="N",
        help="processes that wait for scripts; 0: they are forked on demand; -1: there is no fork "
        "server, every script is a fresh interpreter (default: %(default)d)",
    )
    return parser.parse_args()


def _close_inherited(keep: set[int | None]) -> None:
    """Close what whoever started us had open: a device server's sockets must not outlive it."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        fd = int(name)
        if fd > 2 and fd not in keep:
            with contextlib.suppress(OSError):  # the descriptor that listed them
                os.close(fd)


def _reset_signals() -> None:
    """Undo what was inherited: ignored signals stay ignored in every script, blocked ones too."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _detach() -> int:
    """Go on in a child of a session of its own; the parent ends when the child is ready.

    Returns:
        In the child: the descriptor for `_tell_ready`.
    """
    reader, writer = os.pipe()
    if os.fork() > 0:
        os.close(writer)
        os._exit(0 if os.read(reader, 1) else 1)
    os.close(reader)
    os.setsid()
    return writer


def _tell_ready(fd: int) -> None:
    if fd >= 0:
        os.write(fd, b"1")
        os.close(fd)


def _log_to(directory: HostDirectory, *, quiet: bool) -> None:
    path = directory.log_file
    handler = RotatingFileHandler(path, maxBytes=LOG_LIMIT, backupCount=1, encoding="utf-8")
    formatter = "%(asctime)s.%(msecs)03d %(levelname)s %(message)s"
    logging.basicConfig(
        level=logging.INFO, handlers=[handler], format=formatter, datefmt="%Y-%m-%dT%H:%M:%S"
    )
    if quiet:
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        crashes = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(crashes, 2)
        os.close(null)
        os.close(crashes)


def _hold(loop: Loop, lifeline: int, host: Host) -> None:
    os.set_inheritable(lifeline, False)
    os.set_blocking(lifeline, False)

    def check() -> None:
        with contextlib.suppress(BlockingIOError):
            if not os.read(lifeline, 64):
                LOG.warning("the lifeline is cut")
                host.end_now()

    loop.watch(lifeline, check)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Exception:
        traceback.print_exc()
        logging.getLogger(__name__).exception("the script host failed")
        sys.exit(1)
