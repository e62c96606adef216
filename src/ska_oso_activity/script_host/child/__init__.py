"""A script's own process: loads the script, runs it and reports. Needs only Python."""
