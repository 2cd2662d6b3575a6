"""Writes models_keras.json: what Keras' InceptionV3 and EfficientNetV2S answer, for tests/golden_models.rs.

    pip install tensorflow-cpu safetensors && python make_models_keras.py [inception_v3.safetensors]

With a file of published InceptionV3 weights, writes what Keras makes of it as well.
"""

import json
import os
import pathlib
import re
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
import numpy as np
import tensorflow as tf
from formula import images, value
from safetensors.numpy import load_file

CLASSES = 6
EVERY = 97  # of the features


def number(layer):
    found = re.search(r"_(\d+)$", layer.name)
    return int(found[1]) if found else 0


def inception_names():
    """Published names of the convolutions, in the order in which Keras makes them."""
    yield from ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3")
    five = "1x1 5x5_1 5x5_2 3x3dbl_1 3x3dbl_2 3x3dbl_3 _pool"
    six = "1x1 7x7_1 7x7_2 7x7_3 7x7dbl_1 7x7dbl_2 7x7dbl_3 7x7dbl_4 7x7dbl_5 _pool"
    seven = "1x1 3x3_1 3x3_2a 3x3_2b 3x3dbl_1 3x3dbl_2 3x3dbl_3a 3x3dbl_3b _pool"
    blocks = {
        **dict.fromkeys(("Mixed_5b", "Mixed_5c", "Mixed_5d"), five),
        "Mixed_6a": "3x3 3x3dbl_1 3x3dbl_2 3x3dbl_3",
        **dict.fromkeys(("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"), six),
        "Mixed_7a": "3x3_1 3x3_2 7x7x3_1 7x7x3_2 7x7x3_3 7x7x3_4",
        **dict.fromkeys(("Mixed_7b", "Mixed_7c"), seven),
    }
    for block, branches in blocks.items():
        for branch in branches.split():
            yield f"{block}.branch{branch}"


def set_conv(layer, name, get):
    """Keras keeps height, width, in, out; published files out, in, height, width."""
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    h, w, a, b = layer.get_weights()[0].shape
    shape = (a, b, h, w) if depthwise else (b, a, h, w)
    kernel = get(f"{name}.weight", shape).transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))
    layer.set_weights([kernel] + ([get(f"{name}.bias", (b,))] if layer.use_bias else []))


def set_norm(layer, name, get):
    parts = (["weight"] if layer.scale else []) + ["bias", "running_mean", "running_var"]
    layer.set_weights([get(f"{name}.{part}", layer.beta.shape) for part in parts])


def inception_body(get):
    model = keras.applications.InceptionV3(include_top=False, weights=None, input_shape=(None, None, 3), pooling="avg")
    of = lambda kind: sorted((layer for layer in model.layers if isinstance(layer, kind)), key=number)
    convs, norms = of(keras.layers.Conv2D), of(keras.layers.BatchNormalization)
    names = list(inception_names())
    assert len(names) == len(convs) == len(norms)
    for name, conv, norm in zip(names, convs, norms):
        set_conv(conv, f"{name}.conv", get)
        set_norm(norm, f"{name}.bn", get)
    return model


def efficientnet_body(get):
    model = keras.applications.EfficientNetV2S(
        include_top=False, weights=None, input_shape=(None, None, 3), pooling="avg", include_preprocessing=False
    )
    fused = {"expand_conv": "conv_exp", "expand_bn": "bn1", "project_conv": "conv_pwl", "project_bn": "bn2"}
    plain = {"project_conv": "conv", "project_bn": "bn1"}
    depthwise = {
        "expand_conv": "conv_pw", "expand_bn": "bn1", "dwconv2": "conv_dw", "bn": "bn2", "se_reduce": "se.conv_reduce",
        "se_expand": "se.conv_expand", "project_conv": "conv_pwl", "project_bn": "bn3",
    }  # fmt: skip
    ends = {"stem_conv": "conv_stem", "stem_bn": "bn1", "top_conv": "conv_head", "top_bn": "bn2"}
    for layer in model.layers:
        if not layer.weights:
            continue
        name = ends.get(layer.name)
        if name is None:
            group, block, part = re.fullmatch(r"block(\d)([a-z])_(\w+)", layer.name).groups()
            parts = plain if group == "1" else fused if group in "23" else depthwise
            name = f"blocks.{int(group) - 1}.{ord(block) - ord('a')}.{parts[part]}"
        set_norm(layer, name, get) if "bn" in layer.name.split("_")[-1] else set_conv(layer, name, get)
    return model


def answers(model, head, size):
    """Features and logits of two images in 0..1, the gray values repeated."""
    x = np.repeat(images(2, size)[..., None], 3, axis=-1)
    features = model(tf.constant(x), training=False).numpy().astype(np.float64)
    weight = value(f"{head}.weight", (CLASSES, features.shape[1])).astype(np.float64)
    logits = features @ weight.T + value(f"{head}.bias", (CLASSES,))
    return {"size": size, "every": EVERY, "features": features[:, ::EVERY].tolist(), "logits": logits.tolist()}


def main():
    cases = []
    for name, body, head, sizes in (
        ("inception_v3", inception_body, "fc", (75, 96, 299)),
        ("efficientnet_v2_s", efficientnet_body, "classifier", (64, 75, 299)),
    ):
        model = body(value)
        cases += [{"model": name, **answers(model, head, size)} for size in sizes]
    golden = {"keras": keras.__version__, "tensorflow": tf.__version__, "formula": cases}
    path = pathlib.Path(__file__).with_name("models_keras.json")
    if len(sys.argv) > 1:
        tensors = load_file(sys.argv[1])
        body = inception_body(lambda name, shape: tensors[name].astype(np.float32).reshape(shape))
        golden["published_inception_v3"] = answers(body, "fc", 299)
    elif path.exists():
        golden["published_inception_v3"] = json.loads(path.read_text())["published_inception_v3"]
    path.write_text(json.dumps(golden, indent=1) + "\n")
    for case in cases:
        print(case["model"], case["size"], np.round(case["logits"][0], 3), np.abs(case["features"]).max())


main()
