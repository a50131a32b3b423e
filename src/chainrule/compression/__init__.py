"""Lossless compression of rows at the rate of a model: about -log2 p bits for a row of probability p."""

from chainrule.compression.archives import Compressor, compress, decompress, decompress_batches

__all__ = ["Compressor", "compress", "decompress", "decompress_batches"]
