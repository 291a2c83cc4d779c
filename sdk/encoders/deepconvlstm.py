"""DeepConvLSTM: four convolutions over time, channel by channel, and two LSTMs over what they leave.

Papers: Ordóñez and Roggen, "Deep Convolutional and LSTM Recurrent Neural Networks for Multimodal Wearable Activity
Recognition", Sensors 2016; used, and its size printed (table VI: 457,546 parameters and 86,184,508 FLOPs for 128 x 6
and 10 classes), in "Combining Public Human Activity Recognition Datasets to Mitigate Labeled Data Scarcity".

    windows -> 4 x (convolution of 5 steps to 64 maps, no padding, ReLU) -> LSTM of 128 -> LSTM of 128, last step

The layers and their order are those of the second paper's code. Dropout of 0.5 follows each LSTM; another
reimplementation drops once, before the first. The printed count has one bias per LSTM gate, as Keras does.
Torch's `nn.LSTM` adds a second, 4 x 128 in each of two LSTMs, which only ever occurs in a sum with the first: 458,570
parameters, the same functions. It is kept, because torch exports it as ONNX's own LSTM, which has both biases too. The
FLOPs as printed count the LSTMs as zero; they cost more (about 88 million) than all the rest.

The second paper's text replaces the softmax layer by a new head; its code stacks heads on top of the softmax's ten
values. As in the text, the features here are the last LSTM's 128 values.
"""

from __future__ import annotations

from torch import Tensor, nn

from runtime.errors import InputError
from sdk.encoders._keras import initialise
from sdk.encoders.registry import register_encoder

_MAPS = 64
_KERNEL = (5, 1)
_CONVOLUTIONS = 4
_LOST_SAMPLES = _CONVOLUTIONS * (_KERNEL[0] - 1)
_UNITS = 128
_DROPOUT = 0.5


class DeepConvLSTM(nn.Module):
    """The encoder; features are the second LSTM's output at the last step.

    Args:
        length_samples: rows of a window; more than the 16 that the convolutions take off.
        n_channels: columns of a window; any number.

    Raises:
        InputError: the windows are too short.
    """

    def __init__(self, length_samples: int, n_channels: int) -> None:
        super().__init__()
        if length_samples <= _LOST_SAMPLES:
            raise InputError(
                "encoder deepconvlstm",
                expected=f"windows of more than {_LOST_SAMPLES} samples",
                got=length_samples,
                fix="Make the windows longer.",
            )
        self.convolutions = nn.ModuleList(nn.Conv2d(_MAPS if i else 1, _MAPS, _KERNEL) for i in range(_CONVOLUTIONS))
        self.lstms = nn.ModuleList(nn.LSTM(inputs, _UNITS, batch_first=True) for inputs in (_MAPS * n_channels, _UNITS))
        self.dropout = nn.Dropout(_DROPOUT)
        self.n_features = _UNITS
        initialise(self)

    def forward(self, windows: Tensor) -> Tensor:
        """Windows (n, length_samples, n_channels) to features (n, n_features)."""
        maps = windows.unsqueeze(1)
        for convolution in self.convolutions:
            maps = convolution(maps).relu()
        steps = maps.permute(0, 2, 3, 1).flatten(2)  # at each step the maps of the first channel, then of the next
        for lstm in self.lstms:
            steps = self.dropout(lstm(steps)[0])
        return steps[:, -1]


@register_encoder("deepconvlstm", "Combining public data sets", (128, 6))
def deepconvlstm(length_samples: int, n_channels: int) -> DeepConvLSTM:
    """Four convolutions of 64 maps, two LSTMs of 128 units."""
    return DeepConvLSTM(length_samples, n_channels)
