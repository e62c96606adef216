"""Returns what is not JSON, or too much of it."""


def main(kind):
    return {
        "object": object(),
        "nan": float("nan"),
        "bytes": b"x",
        "huge": "x" * (1024 * 1024 + 1),
        "surrogate": "\ud800",
        "set": {1},
    }[kind]
