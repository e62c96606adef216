"""Ends a script's process as the end of a Python program does, but for what nobody sees.

Threads are waited for, functions registered with atexit run, and files are written out and closed.
Then the process ends. Taking the interpreter apart, module by module and object by object, would
take ten times as long.
"""

from __future__ import annotations

import atexit
import gc
import io
import os
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from ska_oso_activity.script_host.linux import flush_c_streams

_FILE: Any = io.IOBase.__base__
"""What all files are, told much faster than by the abstract base class."""

_WRITERS = (io.BufferedWriter, io.BufferedRandom, io.BufferedRWPair)


def leave(code: Any) -> NoReturn:
    """End the process, with the code as `sys.exit` takes it."""
    if code is None:
        code = 0
    elif not isinstance(code, int):
        _try(lambda: print(code, file=sys.stderr))
        code = 1
    _try(threading._shutdown)  # type: ignore[attr-defined] # as the end of an interpreter does
    _try(atexit._run_exitfuncs)
    _close_files()
    _try(flush_c_streams)
    os._exit(code & 0xFF)


def _close_files() -> None:
    """Close the files that the script left open: those first that write through others.

    Text files write through binary ones, and files of other kinds, such as gzip's, too.
    """
    files = [each for each in gc.get_objects() if isinstance(each, _FILE)]
    texts = [each for each in files if isinstance(each, io.TextIOWrapper)]
    writers = [each for each in files if isinstance(each, _WRITERS)]
    done = set(map(id, [*texts, *writers]))
    others = [
        each
        for each in files
        if id(each) not in done and not isinstance(each, io.FileIO | io.BufferedReader)
    ]
    for each in (*texts, *others, *writers):
        _try(each.close, quietly=True)


def _try(action: Callable[[], object], *, quietly: bool = False) -> None:
    """Do something, and go on whatever it raises: there is nobody left to handle it."""
    try:
        action()
    except BaseException:
        if not quietly:
            with_trace = traceback.format_exc()
            os.write(2, with_trace.encode("utf-8", "backslashreplace"))
