"""Takes memory until it gets no more."""


def main(kept=False):
    taken = []
    print("eating")
    try:
        while True:
            taken.append(bytearray(16 * 1024 * 1024))
    except MemoryError:
        if not kept:
            raise
    return len(taken)
