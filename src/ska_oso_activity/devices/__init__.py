"""Devices layer: the face we show Tango."""
