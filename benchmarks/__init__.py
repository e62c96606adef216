"""How fast activities start, and what they cost: `make bench`."""
