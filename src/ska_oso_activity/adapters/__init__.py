"""Adapters layer: how it is done; one file per outside thing."""
