"""The script host: the process that owns scripts and outlives device servers. Knows only the domain."""
