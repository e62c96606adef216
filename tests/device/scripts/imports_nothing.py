"""Imports what is not there."""

import there_is_no_such_module_anywhere  # noqa: F401


def main():
    return "never"
