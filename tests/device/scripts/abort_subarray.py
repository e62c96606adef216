"""An abort script: writes down how it was called, and can wait or fail."""

import json
import time
from pathlib import Path

given = {}


def init(subarray_id):
    given["subarray_id"] = subarray_id


def main(log, gate=None, fail=False, **others):
    with Path(log).open("a") as file:
        file.write(json.dumps({**given, **others}) + "\n")
    while gate and not Path(gate).exists():
        time.sleep(0.005)
    if fail:
        raise RuntimeError("could not abort")
