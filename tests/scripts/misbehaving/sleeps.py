"""Sleeps for as long as anybody lets it; cleans up when interrupted."""

import time


def main(seconds=1000):
    try:
        print("sleeping")
        time.sleep(seconds)
    finally:
        print("cleaned up")
