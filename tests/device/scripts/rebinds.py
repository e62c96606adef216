"""Rebinds main in init, as observing scripts do."""

import functools


def _main(subarray_id, sb_json=None, sbi_id=None):
    return {"subarray_id": subarray_id, "has_block": sb_json is not None, "sbi_id": sbi_id}


def init(subarray_id):
    globals()["main"] = functools.partial(_main, subarray_id)


def main(*args, **kwargs):
    raise AssertionError("main was looked up before init had run")
