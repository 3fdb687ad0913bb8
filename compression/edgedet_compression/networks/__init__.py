"""Networks: torch modules that are trained, and readers of trained ones that give float ONNX."""
