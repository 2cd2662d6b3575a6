"""Writes imaging.json: what Keras' formula over SciPy, and Pillow, make of images, for tests/golden_imaging.rs to
agree with.

    pip install numpy scipy pillow && python make_imaging.py

The augmentation follows apply_affine_transform of keras/src/legacy/preprocessing/image.py, order 1, fill mode
"nearest", written down again here so that Keras need not be installed. `--keras` compares the two where it is.
"""

import json
import pathlib
import sys

import numpy as np
import PIL
import scipy
from PIL import Image
from scipy.ndimage import affine_transform

rng = np.random.default_rng(157)

# Rotation in degrees, shifts as fractions of the side, shear in degrees, factors of zoom, all as Keras names them.
TRANSFORMS = [
    {"theta": 15.0},
    {"theta": -7.5},
    {"shear": 10.0},
    {"zx": 0.93, "zy": 1.07},
    {"tx": 0.125, "ty": -0.0625},
    {"theta": 30.0, "tx": 0.1, "ty": 0.2},
    {"theta": -14.2, "shear": 0.9, "zx": 1.06, "zy": 0.95},
    {"theta": 170.0, "tx": -0.3, "ty": 0.05, "shear": -20.0, "zx": 0.5, "zy": 1.7},
]


def keras_affine(image, theta=0.0, tx=0.0, ty=0.0, shear=0.0, zx=1.0, zy=1.0):
    side = image.shape[0]
    angle, slant = np.deg2rad(theta), np.deg2rad(shear)
    rotation = np.array(
        [
            [np.cos(angle), -np.sin(angle), 0],
            [np.sin(angle), np.cos(angle), 0],
            [0, 0, 1],
        ]
    )
    shift = np.array([[1, 0, tx * side], [0, 1, ty * side], [0, 0, 1]])
    shearing = np.array([[1, -np.sin(slant), 0], [0, np.cos(slant), 0], [0, 0, 1]])
    zoom = np.diag([zx, zy, 1])
    centre = side / 2 - 0.5
    there = np.array([[1, 0, centre], [0, 1, centre], [0, 0, 1]])
    back = np.array([[1, 0, -centre], [0, 1, -centre], [0, 0, 1]])
    matrix = there @ rotation @ shift @ shearing @ zoom @ back
    # From x, y to row, column.
    matrix[:, [0, 1]] = matrix[:, [1, 0]]
    matrix[[0, 1]] = matrix[[1, 0]]
    return affine_transform(
        image.astype(np.float64),
        matrix[:2, :2],
        matrix[:2, 2],
        order=1,
        mode="nearest",
    )


def augmentation(side):
    image = rng.integers(0, 256, (side, side), dtype=np.uint8)
    cases = []
    for transform in TRANSFORMS:
        result = keras_affine(image, **transform)
        if "--keras" in sys.argv:
            compare_with_keras(image, transform, result)
        cases.append({"transform": transform, "result": np.round(result, 2).ravel().tolist()})
    return {"side": side, "image": image.ravel().tolist(), "cases": cases}


def compare_with_keras(image, transform, result):
    from keras.src.legacy.preprocessing.image import apply_affine_transform

    pixels = dict(transform)
    for shift in ("tx", "ty"):
        if shift in pixels:
            pixels[shift] *= image.shape[0]
    theirs = apply_affine_transform(
        image.astype(np.float64)[..., None], row_axis=0, col_axis=1, channel_axis=2, **pixels
    )
    print(transform, "differs from Keras by", np.abs(theirs[..., 0] - result).max())


# Name, base size, angle and crop box of the organisers.
DIES = [
    ("Die01", (540, 630), 55, (340, 120, 500, 680)),
    ("Die02", (720, 840), -44, (480, 210, 640, 930)),
    ("Die03", (720, 840), 134, (460, 200, 620, 920)),
    ("Die04", (540, 630), 35, (310, 130, 470, 690)),
]


def frame(width, height):
    """Whole numbers only, so that Rust draws the same one: slopes, and blocks with hard edges."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    levels = (x * x // 300 + y * y // 500 + x * y // 700) % 160 + (x // 23 + y // 31) % 3 * 40
    return Image.fromarray(levels.astype(np.uint8))


def crop(name, size, degrees, box):
    picture = frame(*size)

    def cropped(resample):
        return np.asarray(picture.rotate(degrees, resample=resample, expand=True).crop(box))

    bilinear = cropped(Image.Resampling.BILINEAR)
    nearest = cropped(Image.Resampling.NEAREST)
    return {
        "die": name,
        "width": bilinear.shape[1],
        "height": bilinear.shape[0],
        "row_sums": bilinear.sum(axis=1, dtype=int).tolist(),
        "column_sums": bilinear.sum(axis=0, dtype=int).tolist(),
        # Every 13th pixel of every 13th row; what the default of Pillow would give beside it.
        "sample": bilinear[::13, ::13].ravel().tolist(),
        "nearest": nearest[::13, ::13].ravel().tolist(),
    }


golden = {
    "made_with": f"scipy {scipy.__version__}, numpy {np.__version__}, pillow {PIL.__version__}",
    "augmentation": [augmentation(24), augmentation(17)],
    "die_crop": [crop(*die) for die in DIES],
}
path = pathlib.Path(__file__).with_name("imaging.json")
path.write_text(json.dumps(golden) + "\n")
