"""Tango devices that run the observing scripts of SKA telescope activities."""

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    """`__version__`, looked up when it is asked for: a script's process does without (20 ms)."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("ska-oso-activity")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0+unknown"
