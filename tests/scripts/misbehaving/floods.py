"""Prints as much as it is told, as fast as it can."""


def main(megabytes, line_end="\n"):
    piece = ("x" * 79 + line_end) * 100
    for _ in range(megabytes * 1024 * 1024 // len(piece)):
        print(piece, end="")
    print()
    print("end of flood")
