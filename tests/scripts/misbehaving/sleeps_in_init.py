"""Never gets ready."""

import time


def init():
    print("sleeping")
    time.sleep(1000)


def main():
    pass
