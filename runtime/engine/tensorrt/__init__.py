"""The engine "tensorrt": built on this device, kept in a sealed cache, run on an NVIDIA GPU.

engine   the engine                                       TensorrtEngine
build    what talks to TensorRT's builder, in a process of its own
child    asking that process, within limits of time and memory
cache    built plans: code, hence sealed with this device's key
plan     a plan that is run
cuda     the few calls of the CUDA runtime that it takes
"""
