"""Waits to be killed."""

import time


def main():
    time.sleep(600)
