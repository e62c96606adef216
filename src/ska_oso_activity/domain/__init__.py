"""Domain layer: what an operator would say aloud. Needs only Python."""
