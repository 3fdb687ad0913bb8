"""Quantized networks on simulated non-volatile memory arrays: the package that will hold the accelerator."""
