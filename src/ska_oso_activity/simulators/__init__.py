"""Pretended telescopes: TMC's CentralNode and SubarrayNodes, for demonstrations and tests."""
