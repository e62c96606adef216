"""Takes no arguments at all, and has no init."""


def main():
    return "nothing taken"
