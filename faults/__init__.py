"""The fault suite: kills, stops, fills and damages everything at every moment: `make faults`."""
