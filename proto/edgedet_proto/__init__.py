"""Wire definitions: the Open Inference Protocol v2 and EdgeDet's conventions on top of it."""
