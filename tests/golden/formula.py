"""Weights and pictures by formula, the same in NumPy and in tests/golden_models.rs.

Value i of the variable `name` is a hash of both, so no file of weights has to be kept.
"""

import numpy as np


def uniform(name, shape):
    """Hashed values in -1..1 in the order of the last axis first; exact in single precision."""
    seed = np.uint32(2166136261)  # FNV-1a
    with np.errstate(over="ignore"):
        for byte in name.encode():
            seed = np.uint32(seed ^ np.uint32(byte)) * np.uint32(16777619)
        x = np.arange(int(np.prod(shape)), dtype=np.uint32) + seed
        # lowbias32 by Chris Wellons
        x ^= x >> np.uint32(16)
        x *= np.uint32(0x7FEB352D)
        x ^= x >> np.uint32(15)
        x *= np.uint32(0x846CA68B)
        x ^= x >> np.uint32(16)
    return ((x >> np.uint32(8)).astype(np.float32) / np.float32(1 << 23) - np.float32(1)).reshape(shape)


def value(name, shape):
    """Weights of a layer spread by their fan-in, vectors around where they usually start."""
    u = uniform(name, shape)
    if name.endswith("running_var") or name.endswith("weight") and len(shape) == 1:
        return np.float32(1) + np.float32(0.25) * u
    if name.endswith("gamma"):
        return np.float32(0.5) + np.float32(0.25) * u
    if len(shape) == 1 or name in ("cls_token", "pos_embed"):
        return np.float32(0.25) * u
    fan_in = np.float32(np.prod(shape[1:]))
    return np.sqrt(np.float32(4) / fan_in) * u


def images(count, size):
    """[count, size, size], bright and dark bands with noise, in 0..1 and in steps of 1/255."""
    row, column = np.mgrid[:size, :size]
    bands = [((row * (i + 1) + column * 2) // 7 % 2) * 120 for i in range(count)]
    noise = (uniform("images", (count, size, size)) + 1) * 60
    return ((np.stack(bands) + np.floor(noise)) / 255).astype(np.float32)
