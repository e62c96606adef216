"""Kills the process that it came from."""

import os
import signal
import time


def main():
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(1000)
