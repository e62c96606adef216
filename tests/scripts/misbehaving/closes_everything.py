"""Closes all descriptors, as a program does that turns into a daemon."""

import os


def main():
    print("before")
    os.closerange(3, 100)
    return "nobody will know"
