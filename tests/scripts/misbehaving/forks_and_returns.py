"""Forks, and comes back from main twice."""

import os


def main():
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return "parent"
    return "child"
