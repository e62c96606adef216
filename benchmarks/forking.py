"""How long a fork takes, from the call to the child's first line; prints nanoseconds.

A program of its own: `forking.py COUNT [MODULE...]` forks after it has imported the modules.
"""

import importlib
import os
import sys
import time


def main(count, modules):
    for module in modules:
        importlib.import_module(module)
    reader, writer = os.pipe()
    for _ in range(count):
        called = time.monotonic_ns()
        child = os.fork()
        if child == 0:
            os.write(writer, str(time.monotonic_ns() - called).encode())
            os._exit(0)
        os.waitpid(child, 0)
        print(int(os.read(reader, 64)))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
