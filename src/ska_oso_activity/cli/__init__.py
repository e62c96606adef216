"""The command line: `ska-oso-activity`."""
