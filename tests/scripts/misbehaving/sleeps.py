"""Sleeps for as long as anybody lets it; cleans up when interrupted."""

import time


def main(seconds=1000):
    print("sleeping")
    try:
        time.sleep(seconds)
    finally:
        print("cleaned up")
