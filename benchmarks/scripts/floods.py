"""Prints as fast as it can until it is stopped."""


def main():
    while True:
        print("and another line of output, of a length that lines of output have" * 2)
