"""The digital backends: ONNX Runtime for speed, plain numpy as the oracle."""
