"""The compile pass: quantized ONNX graphs become ONNX graphs of arrays, which ONNX Runtime executes."""

from edgedet_nvm.compile.network import CompiledNetwork, compile_network

__all__ = ["CompiledNetwork", "compile_network"]
