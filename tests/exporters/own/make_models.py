"""Makes the files of tests/exporters/own/models, by the libraries whose shapes they are to have.

    python -m venv made && made/bin/pip install tensorflow-cpu tf2onnx skl2onnx scikit-learn
    made/bin/python tests/exporters/own/make_models.py keras sklearn
    python tests/exporters/own/make_models.py torch              where torch, onnx and onnxscript are

Each model has random weights, takes windows of 24 x 3 and is beside what made it: models/made.json.
"""

import json
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np

LENGTH, CHANNELS, CLASSES = 24, 3, 4
HERE = Path(__file__).parent / "models"


def keras():
    import keras
    import tensorflow as tf
    import tf2onnx
    from keras import layers

    def save(name, model, opset, shape=(LENGTH, CHANNELS), batch=None):
        rng = np.random.default_rng(0)
        model.set_weights([rng.normal(0.1, 0.3, weight.shape) for weight in model.get_weights()])
        for layer in model.layers:
            if isinstance(layer, layers.BatchNormalization):
                gamma, beta, mean, var = layer.get_weights()
                layer.set_weights([gamma, beta, mean, np.abs(var) + 0.5])
        signature = [tf.TensorSpec((batch, *shape), tf.float32, name="input")]
        call = tf.function(lambda x: model(x, training=False), input_signature=signature)
        tf2onnx.convert.from_function(call, signature, opset=opset, output_path=str(HERE / f"{name}.onnx"))
        return f"keras {keras.__version__}, tensorflow {tf.__version__}, tf2onnx {version('tf2onnx')}, opset {opset}"

    def net(*parts, shape=(LENGTH, CHANNELS)):
        return keras.Sequential([layers.Input(shape), *parts])

    conv = lambda n, **more: layers.Conv1D(n, 5, **more)  # noqa: E731
    yield (
        "keras_conv",
        save(
            "keras_conv",
            net(
                conv(6, padding="same", activation="relu"),
                layers.BatchNormalization(),
                layers.MaxPooling1D(2),
                conv(8),
                layers.BatchNormalization(),
                layers.ReLU(),
                layers.GlobalAveragePooling1D(),
                layers.Dense(10, activation="relu"),
                layers.Dropout(0.5),
                layers.Dense(CLASSES, activation="softmax"),
            ),
            13,
        ),
    )
    yield (
        "keras_flat",
        save(
            "keras_flat",
            net(conv(4, activation="relu"), layers.Flatten(), layers.Dense(CLASSES)),
            11,
        ),
    )
    yield (
        "keras_separable",
        save(
            "keras_separable",
            net(
                layers.SeparableConv1D(6, 5, activation="relu"),
                layers.GlobalMaxPooling1D(),
                layers.Dense(CLASSES, activation="softmax"),
            ),
            17,
        ),
    )
    yield "keras_lstm", save("keras_lstm", net(layers.LSTM(7), layers.Dense(CLASSES, activation="softmax")), 15)
    yield (
        "keras_bilstm",
        save(
            "keras_bilstm",
            net(layers.Bidirectional(layers.LSTM(5)), layers.Dense(CLASSES, activation="softmax")),
            18,
        ),
    )
    yield "keras_gru", save("keras_gru", net(layers.GRU(6), layers.Dense(CLASSES)), 13)
    yield (
        "keras_binary",
        save(
            "keras_binary",
            net(conv(4, activation="relu"), layers.GlobalAveragePooling1D(), layers.Dense(1, activation="sigmoid")),
            13,
        ),
    )
    yield (
        "keras_conv2d",
        save(
            "keras_conv2d",
            net(
                layers.Conv2D(4, (5, 1), activation="relu"),
                layers.Flatten(),
                layers.Dense(CLASSES, activation="softmax"),
                shape=(LENGTH, CHANNELS, 1),
            ),
            13,
            shape=(LENGTH, CHANNELS, 1),
        ),
    )
    yield (
        "keras_fixed",
        save(
            "keras_fixed",
            net(conv(4, activation="relu"), layers.Flatten(), layers.Dense(CLASSES, activation="softmax")),
            13,
            batch=1,
        ),
    )


def sklearn():
    import sklearn
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(1)
    x = rng.normal(size=(120, LENGTH * CHANNELS)).astype(np.float32)
    words = np.array(["clap", "point", "rest", "wave"])[rng.integers(0, CLASSES, 120)]
    numbers = rng.integers(0, 2, 120)

    def save(name, model, y, opset, **options):
        model.fit(x, y)
        made = convert_sklearn(
            model,
            initial_types=[("input", FloatTensorType([None, x.shape[1]]))],
            target_opset={"": opset, "ai.onnx.ml": 3},
            options={id(model): options} if options else None,
        )
        (HERE / f"{name}.onnx").write_bytes(made.SerializeToString())
        return f"scikit-learn {sklearn.__version__}, skl2onnx {version('skl2onnx')}, opset {opset}"

    small = dict(hidden_layer_sizes=(9, 6), max_iter=20, random_state=0)
    yield "sklearn_mlp", save("sklearn_mlp", make_pipeline(StandardScaler(), MLPClassifier(**small)), words, 15)
    yield "sklearn_mlp_plain", save("sklearn_mlp_plain", MLPClassifier(**small), words, 21, zipmap=False)
    yield "sklearn_mlp_binary", save("sklearn_mlp_binary", MLPClassifier(**small), numbers, 12)
    yield "sklearn_logistic", save("sklearn_logistic", make_pipeline(StandardScaler(), LogisticRegression()), words, 13)
    yield "sklearn_logistic_binary", save("sklearn_logistic_binary", LogisticRegression(), numbers, 11)
    yield "sklearn_forest", save("sklearn_forest", RandomForestClassifier(2, max_depth=2, random_state=0), words, 15)


def torch():
    import torch
    from torch import nn

    def strip(path):
        """Leave out stack traces, which name files of the machine; external data stay where they are."""
        import onnx

        model = onnx.load(path, load_external_data=False)
        for message in (model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input):
            message.ClearField("metadata_props")
            message.ClearField("doc_string")
        path.write_bytes(model.SerializeToString())

    class First(nn.Module):
        """Channels first, with a normalisation."""

        def __init__(self, softmax):
            super().__init__()
            self.conv1, self.norm1 = nn.Conv1d(CHANNELS, 6, 5), nn.BatchNorm1d(6)
            self.conv2 = nn.Conv1d(6, 8, 3, padding=1, bias=False)
            self.fc1, self.fc2 = nn.Linear(8, 7), nn.Linear(7, CLASSES)
            self.softmax = softmax
            nn.init.uniform_(self.norm1.running_mean, -0.2, 0.2)
            nn.init.uniform_(self.norm1.running_var, 0.5, 2)

        def forward(self, x):
            x = torch.relu(self.conv2(torch.relu(self.norm1(self.conv1(x)))))
            x = self.fc2(nn.functional.gelu(self.fc1(x.mean(-1))))
            return torch.softmax(x, -1) if self.softmax else x

    class Last(nn.Module):
        """Channels last, recurrent."""

        def __init__(self, cell=nn.LSTM):
            super().__init__()
            self.rnn, self.fc = cell(CHANNELS, 6, batch_first=True), nn.Linear(6, CLASSES)

        def forward(self, x):
            return self.fc(self.rnn(x)[0][:, -1])

    class Attends(nn.Module):
        """A small transformer, with a learned place for each step."""

        def __init__(self):
            super().__init__()
            self.into, self.place = nn.Linear(CHANNELS, 8), nn.Parameter(torch.randn(LENGTH, 8) / 4)
            self.layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, activation="gelu")
            self.fc = nn.Linear(8, CLASSES)

        def forward(self, x):
            return torch.log_softmax(self.fc(self.layer(self.into(x) + self.place).mean(1)), 1)

    class Flat(nn.Module):
        """Images of one colour, flattened."""

        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(1, 3, (5, 1)), nn.Linear(3 * (LENGTH - 4) * CHANNELS, CLASSES)

        def forward(self, x):
            return self.fc(torch.relu(self.conv(x)).view(x.size(0), -1))

    def save(name, module, shape, opset, *, dynamo, batch=None, **more):
        torch.manual_seed(2)
        module, example = module().eval(), torch.randn(batch or 2, *shape)
        if dynamo:
            free = None if batch else ({0: torch.export.Dim("batch")},)
            more = {"dynamic_shapes": free, "external_data": False, "verbose": False} | more
        else:
            more = {} if batch else {"dynamic_axes": {"input": {0: "batch"}}}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module, (example,), str(HERE / f"{name}.onnx"), dynamo=dynamo, opset_version=opset,
                input_names=["input"], output_names=["output"], **more,
            )  # fmt: skip
        strip(HERE / f"{name}.onnx")
        how = "dynamo" if dynamo else "TorchScript"
        return f"torch {torch.__version__} ({how}), onnxscript {version('onnxscript')}, opset {opset}"

    first, last = (CHANNELS, LENGTH), (LENGTH, CHANNELS)
    for name, module, shape, opset, more in (
        ("torch_script_conv", lambda: First(True), first, 11, {"dynamo": False}),
        ("torch_script_fixed", lambda: First(False), first, 13, {"dynamo": False, "batch": 1}),
        ("torch_script_lstm", Last, last, 17, {"dynamo": False}),
        ("torch_script_lstm_fixed", Last, last, 14, {"dynamo": False, "batch": 1}),
        ("torch_script_image", Flat, (1, *last), 12, {"dynamo": False}),
        ("torch_script_image_fixed", Flat, (1, *last), 16, {"dynamo": False, "batch": 2}),
        ("torch_dynamo_conv", lambda: First(True), first, 21, {"dynamo": True}),
        ("torch_dynamo_fixed", lambda: First(False), first, 20, {"dynamo": True, "batch": 1}),
        ("torch_dynamo_gru", lambda: Last(nn.GRU), last, 18, {"dynamo": True}),
        ("torch_dynamo_attention", Attends, last, 18, {"dynamo": True}),
        ("torch_dynamo_external", lambda: First(True), first, 19, {"dynamo": True, "external_data": True}),
    ):
        yield name, save(name, module, shape, opset, **more)


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    record = HERE / "made.json"
    made = json.loads(record.read_text()) if record.exists() else {}
    for maker in sys.argv[1:]:
        for name, by in {"keras": keras, "sklearn": sklearn, "torch": torch}[maker]():
            print(name, by, (HERE / f"{name}.onnx").stat().st_size)
            made[name] = by
    record.write_text(json.dumps(dict(sorted(made.items())), indent=1) + "\n")
