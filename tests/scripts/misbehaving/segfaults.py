"""Reads from address 0, after half a line of output."""

import ctypes


def main():
    print("half a line", end="")
    ctypes.string_at(0)
