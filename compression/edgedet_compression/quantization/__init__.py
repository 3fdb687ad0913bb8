"""Float ONNX to integers: rewrites, ranges, weights, the QDQ form; and 4-bit quantizers that learn in torch."""
