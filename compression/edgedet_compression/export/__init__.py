"""Quantized networks written as packages."""
