"""Wants its subarray in init."""

from ska_oso_activity import script

given = {}


def init(subarray_id):
    given["init"] = subarray_id


def main():
    return {**given, "asked": script.subarray_id()}
