"""The cloud center: runs the tails of inferences that edges hand over, over the Open Inference Protocol."""
