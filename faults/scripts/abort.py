"""Puts a subarray in order, that is: says so."""


def main():
    print("aborted")
