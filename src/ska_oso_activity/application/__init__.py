"""Application layer: what we do, in order; one service per conversation and the ports it needs."""
