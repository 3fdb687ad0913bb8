"""Pruning: of layers, channels and single weights."""
