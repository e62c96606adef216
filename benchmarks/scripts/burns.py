"""Keeps a core busy until it is stopped."""


def main():
    while True:
        pass
