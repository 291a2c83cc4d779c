"""INT8: explicit QuantizeLinear / DequantizeLinear pairs, symmetric, zero point 0, float bias.

processor    whether this processor wants a reduced range         needs_reduced_range
calibrate    windows -> the range of each value                   value_ranges, percentile_range, entropy_range
qdq          the layers that can be int8; the pairs put in        layers_of, insert_pairs
sensitivity  which layers are left in float, by measuring         choose_layers
make         all of it                                            to_int8, Int8Options
"""

from exporters.int8.make import Int8Options, to_int8

__all__ = ["Int8Options", "to_int8"]
