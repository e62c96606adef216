"""Ends in ways that no exception tells: exits, signals, no memory."""

import ctypes
import os
import resource
import sys
import time

from notes import note


def main(how):
    note("entered")
    time.sleep(0.05)
    if how == "os_exit":
        os._exit(0)
    if how == "sys_exit":
        sys.exit(0)
    if how == "segfault":
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        ctypes.string_at(0)
    if how == "memory":
        limit = 512 * 1024 * 1024
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        taken = []
        while True:
            taken.append(bytearray(16 * 1024 * 1024))
    note("left")
