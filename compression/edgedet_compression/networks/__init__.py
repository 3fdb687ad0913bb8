"""Readers of trained networks; each gives float ONNX."""
