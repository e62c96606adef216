"""The script's own process: loads the script, runs it and reports. Imports the standard library only."""
