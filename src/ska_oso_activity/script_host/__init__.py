"""The script host: the process that owns scripts and outlives device servers; knows the domain."""
