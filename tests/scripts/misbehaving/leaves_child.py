"""Leaves a child process behind, which it never waits for."""

import subprocess


def main():
    child = subprocess.Popen(["sleep", "1000"])
    child.returncode = 0  # no warning about it
    return child.pid
