"""Encoders by name: windows to features of shape (n, n_features).

registry         names, and what makes them              create_encoder, encoder_info, list_encoders, register_encoder
fcn              MaskCAE's fully convolutional net       FCN ("fcn", "fcn-stride4")
ispl_inception   convolutions of three lengths at once   ISPLInception ("ispl-inception")
deepconvlstm     convolutions, then two LSTMs            DeepConvLSTM ("deepconvlstm")
hart             a transformer with two sensors          HART ("hart")
mobilehart       convolutions and transformers           MobileHART ("mobilehart-xs", "mobilehart-xxs")
cnn_transformer  MESEN's, and with a GRU                 ConvSequence ("cnn-transformer", "cnn-gru")
cnn1d            convolutions of all prime lengths       OmniScaleCNN ("1d-cnn")
cooccurrence     skeletons, all joints at once           CoOccurrence ("co-occurrence")
cosmo            one modality of Cosmo                   Maps, Depth, Radar
                 ("cosmo-imu", "cosmo-skeleton", "cosmo-depth", "cosmo-radar")
fusion           several, weighed by attention           AttentionFusion, Split, Projection ("cosmo-utd", "cosmo-usc")
resnet           images; and a small one over time       ResNet18, SmallResNet ("resnet18", "resnet1d")
hand             hand-made features, none learned        Hand, Beside ("hand", "hand+fcn")
heads            MLP, GRU or LSTM before the last layer  with_body, Bodied, MLP, Recurrent
sequence         features that are a sequence            SequenceEncoder
own              any module of one's own                 Own, register_own
untrained        what a window costs one, and a blank manifest to export it with
"""

try:
    import torch  # noqa: F401
except ImportError as error:
    raise ImportError('encoders need torch: pip install "sensedge[train]"') from error

from sdk.encoders.cnn1d import OmniScaleCNN
from sdk.encoders.cnn_transformer import ConvSequence
from sdk.encoders.cooccurrence import CoOccurrence
from sdk.encoders.cosmo import Depth, Maps, Radar
from sdk.encoders.deepconvlstm import DeepConvLSTM
from sdk.encoders.fcn import FCN
from sdk.encoders.fusion import AttentionFusion, Projection, Split
from sdk.encoders.hand import Beside, Hand
from sdk.encoders.hart import HART
from sdk.encoders.heads import MLP, Bodied, Recurrent, with_body
from sdk.encoders.ispl_inception import ISPLInception
from sdk.encoders.mobilehart import MobileHART, MobileHARTConfig
from sdk.encoders.own import Own, register_own
from sdk.encoders.registry import (
    Classifier,
    EncoderInfo,
    create_encoder,
    encoder_info,
    list_encoders,
    register_encoder,
)
from sdk.encoders.resnet import ResNet18, SmallResNet
from sdk.encoders.sequence import SequenceEncoder

__all__ = [
    "FCN",
    "HART",
    "MLP",
    "AttentionFusion",
    "Beside",
    "Bodied",
    "Classifier",
    "CoOccurrence",
    "ConvSequence",
    "DeepConvLSTM",
    "Depth",
    "EncoderInfo",
    "Hand",
    "ISPLInception",
    "Maps",
    "MobileHART",
    "MobileHARTConfig",
    "OmniScaleCNN",
    "Own",
    "Projection",
    "Radar",
    "Recurrent",
    "ResNet18",
    "SequenceEncoder",
    "SmallResNet",
    "Split",
    "create_encoder",
    "encoder_info",
    "list_encoders",
    "register_encoder",
    "register_own",
    "with_body",
]
