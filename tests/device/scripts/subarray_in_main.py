"""Wants its subarray in main."""

from ska_oso_activity import script


def init():
    pass


def main(subarray_id=None):
    return {"main": subarray_id, "asked": script.subarray_id()}
