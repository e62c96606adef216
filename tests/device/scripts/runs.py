"""Of the oldest generation: has `run` where others have `main`."""


def run(*args, **kwargs):
    return {"args": list(args), "kwargs": kwargs}
