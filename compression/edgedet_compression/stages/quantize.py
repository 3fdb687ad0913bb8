"""The stage `quantize` (S3.1): 4-bit quantizers go into a float network; a `train` stage after it lets them learn."""

import numpy as np
import torch

from edgedet_compression.networks.families import parameter_count, save_network
from edgedet_compression.quantization.insertion import Scheme
from edgedet_compression.quantization.low_bit_network import low_bit
from edgedet_compression.recipe_stages import QuantizeStage
from edgedet_compression.runs import NETWORK
from edgedet_compression.stages.context import Context, Figures
from edgedet_compression.training.classification import normalized


def insert_quantizers(stage: QuantizeStage, context: Context) -> Figures:
    """Write the network with quantizers that begin where they lose least of the calibration images."""
    network, data = context.float_network(stage), context.data
    photos = np.concatenate(data.calibration(data.input_spec(None)).photos)[..., : data.image_shape[0]]
    images = normalized(torch.from_numpy(photos).permute(0, 3, 1, 2).float() / 255, data.normalization)
    scheme = Scheme(stage.weights, stage.activations, stage.scales)
    found = low_bit(network, scheme, data.normalization, images)
    save_network(found, context.folder.path / NETWORK)
    return {
        "parameters": parameter_count(found),
        "parameters_before": parameter_count(network),
        **context.zeros(stage.start, found),
    }
