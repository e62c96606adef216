"""Gives back its environment."""

import os


def main():
    return dict(os.environ)
