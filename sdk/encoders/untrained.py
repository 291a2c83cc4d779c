"""An encoder before it has learned anything: what a window costs it, and a manifest to export it with."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from runtime import Manifest, Modality, Signal, WindowSpec
from runtime.specs import Normalise, SpectrogramSpec
from sdk.encoders.fusion import Split
from sdk.encoders.registry import create_encoder, encoder_info

LABELS = ("sitting", "walking", "running")
_RATE_HZ, _IMAGE_SAMPLES = 50.0, 250  # of the signal behind an image


def blank_manifest(name: str, encoder: nn.Module, shape: tuple[int, ...]) -> Manifest:
    """A manifest whose windows, or their images, have the shape that an encoder takes; normalising changes nothing.

    Args:
        name: of the model.
        encoder: to be exported; one of several modalities says their shapes itself.
        shape: of one window: (length, n_channels), (3, height, width) of an image, or (n_values,) of modalities
            that lie one after the other.
    """
    if len(shape) == 3:
        signal, window = Signal((_modality("acc", 3, _RATE_HZ),)), WindowSpec(_IMAGE_SAMPLES, _IMAGE_SAMPLES)
        spectrogram = SpectrogramSpec(64, 8, signal.channel_names, height_px=shape[1], width_px=shape[2])
        return Manifest(name, signal, window, LABELS, _unit(3), spectrogram=spectrogram)
    parts = [(shape[0], shape[1])] if len(shape) == 2 else _split_of(encoder).shapes
    signal = Signal(tuple(_modality(f"m{i}", width, length) for i, (length, width) in enumerate(parts)))
    return Manifest(name, signal, WindowSpec(parts[0][0], parts[0][0]), LABELS, _unit(sum(part[1] for part in parts)))


def count_macs(name: str) -> int:
    """Multiply-accumulates of one window of the paper's shape; nothing is computed."""
    info = encoder_info(name)
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        create_encoder(name).eval()(torch.zeros(1, *info.shape))
    return int(counter.get_total_flops()) // 2


def _split_of(encoder: nn.Module) -> Split:
    return next(module for module in encoder.modules() if isinstance(module, Split))


def _modality(name: str, n_channels: int, rate_hz: float) -> Modality:
    return Modality(name, "1", tuple(str(i) for i in range(n_channels)), float(rate_hz))


def _unit(n_channels: int) -> Normalise:
    return Normalise((0.0,) * n_channels, (1.0,) * n_channels)
