"""Comes back from main while a thread of it goes on."""

import atexit
import threading
import time


def main(seconds):
    atexit.register(print, "at exit")
    threading.Thread(target=time.sleep, args=(seconds,)).start()
    return "main is done"
