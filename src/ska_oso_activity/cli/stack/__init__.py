"""The stack launcher: everything on one machine, started, watched over and stopped (cli)."""
