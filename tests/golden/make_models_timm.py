"""Writes models_timm.json: what timm's ViT-S/14 (DINOv2) answers, for tests/golden_models.rs.

    pip install torch timm && python make_models_timm.py
"""

import json
import math
import pathlib

import numpy as np
import timm
import torch
from formula import images, value

CLASSES = 6
EVERY = 17  # of the features


def positions(pos_embed, side):
    """`interpolate_pos_encoding` of DINOv2's vision transformer: bicubic, scale factors with an offset of 0.1."""
    patches = pos_embed[:, 1:]
    grid = math.isqrt(patches.shape[1])
    scale = (side + 0.1) / grid
    patches = torch.nn.functional.interpolate(
        patches.reshape(1, grid, grid, -1).permute(0, 3, 1, 2), mode="bicubic", antialias=False, scale_factor=(scale, scale)
    )
    assert patches.shape[-2:] == (side, side)
    return torch.cat([pos_embed[:, :1], patches.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


def answers(size):
    model = timm.create_model("vit_small_patch14_dinov2", num_classes=CLASSES, img_size=size).eval()
    weights = {}
    for name, tensor in model.state_dict().items():
        if name == "pos_embed":
            full = torch.from_numpy(value(name, (1, 1 + 37 * 37, 384)))
            weights[name] = positions(full, size // 14)
        else:
            weights[name] = torch.from_numpy(value(name, tuple(tensor.shape)))
    model.load_state_dict(weights)
    x = torch.from_numpy(images(2, size))[:, None].expand(-1, 3, -1, -1)
    with torch.no_grad():
        tokens = model.forward_features(x)
        logits = model.forward_head(tokens)
    return {
        "model": "vit_s14",
        "size": size, "every": EVERY,
        "features": tokens[:, 0, ::EVERY].double().tolist(),
        "logits": logits.double().tolist(),
    }


cases = [answers(size) for size in (70, 98, 224)]
golden = {"timm": timm.__version__, "torch": torch.__version__, "formula": cases}
path = pathlib.Path(__file__).with_name("models_timm.json")
path.write_text(json.dumps(golden, indent=1) + "\n")
for case in cases:
    print(case["size"], np.round(case["logits"][0], 3), np.abs(case["features"]).max())
