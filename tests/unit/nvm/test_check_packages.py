"""The committed packages are the same networks on ideal arrays, layer by layer."""

import numpy as np
import pytest
from edgedet_nvm.check import check_network
from edgedet_nvm.mapping import Arrays, map_network
from edgedet_nvm.slicing import Slicing
from edgedet_runtime.package import load_package
from edgedet_runtime.quantized_graph import read_quantized_graph
from edgedet_runtime.segments import load_network
