"""Quantized networks on simulated non-volatile memory arrays: mapped, compiled to ONNX, checked, run, counted."""
