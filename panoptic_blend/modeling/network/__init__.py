"""The network: a batched image tensor in, raw tensors out."""

from panoptic_blend.modeling.network.network import Network, NetworkOutput

__all__ = ["Network", "NetworkOutput"]
