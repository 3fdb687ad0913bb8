"""Float ONNX to integers: rewrites, ranges, weights, the QDQ form."""
