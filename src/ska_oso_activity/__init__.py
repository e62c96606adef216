"""Tango devices that run the observing scripts of SKA telescope activities."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("ska-oso-activity")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
