"""Writes drift.json: what scikit-learn and NumPy say, for tests/golden_drift.rs to agree with.

    pip install numpy scipy scikit-learn && python make_drift.py
"""

import json
import pathlib
import warnings

import numpy as np
import sklearn
from sklearn.covariance import ledoit_wolf
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

warnings.simplefilter("ignore", ConvergenceWarning)
rng = np.random.default_rng(157)


def short(values):
    """Single precision with few digits, so that the file stays small and both sides read the same."""
    return np.round(np.asarray(values, float), 4).astype(np.float32)


def logistic(x, y, c, balanced):
    model = LogisticRegression(
        C=c, class_weight="balanced" if balanced else None, solver="lbfgs", tol=1e-10, max_iter=100_000
    ).fit(x.astype(float), y)
    return {
        "dim": x.shape[1],
        "x": x.astype(float).ravel().tolist(),
        "y": y.tolist(),
        "c": c,
        "balanced": balanced,
        "coefficients": model.coef_[0].tolist(),
        "intercept": float(model.intercept_[0]),
        "probabilities": model.predict_proba(x.astype(float))[:, 1].tolist(),
    }


def logistic_cases():
    x = short(rng.normal(size=(70, 6)) * [1, 2, 0.5, 1, 3, 1] + [0, 1, 0, -2, 0, 0])
    y = (x[:, 0] - x[:, 1] + rng.normal(size=70)) > 1.2
    yield logistic(x, y, 1.0, True)
    yield logistic(x, y, 0.01, False)
    yield logistic(x, y, 100.0, True)
    # Separable, and with more features than images.
    few = short(rng.normal(size=(5, 12)))
    yield logistic(few, np.array([True, False, False, True, False]), 1.0, True)


def features(n, dim):
    directions = rng.normal(size=(6, dim)) * (0.6 ** np.arange(6))[:, None]
    return short(1.0 + rng.normal(size=(n, 6)) @ directions + 0.02 * rng.normal(size=(n, dim)))


def projection_case():
    x = features(60, 30)
    unit = normalize(x.astype(float))
    pca = PCA(5, svd_solver="full").fit(unit)
    signs = np.sign(pca.components_[np.arange(5), np.abs(pca.components_).argmax(1)])
    return {
        "dim": 30,
        "x": x.astype(float).ravel().tolist(),
        "components": 5,
        "explained_variance": pca.explained_variance_.tolist(),
        "explained_variance_ratio": float(pca.explained_variance_ratio_.sum()),
        "projected": (pca.transform(unit) * signs).ravel().tolist(),
    }


def distance_case():
    """Mahalanobis (Lee et al. 2018) and relative Mahalanobis (Ren et al. 2021), by their definitions."""
    classes = rng.integers(0, 3, 50)
    x = short(rng.normal(size=(50, 5)) + 3 * rng.normal(size=(3, 5))[classes])
    queries = short(rng.normal(size=(12, 5)) * 4)
    x64, q64 = x.astype(float), queries.astype(float)
    means = np.stack([x64[classes == c].mean(0) for c in range(3)])
    within = np.linalg.inv(ledoit_wolf(x64 - means[classes], assume_centered=True)[0])
    whole = np.linalg.inv(ledoit_wolf(x64 - x64.mean(0), assume_centered=True)[0])

    def squared(delta, precision):
        return np.einsum("...i,ij,...j->...", delta, precision, delta)

    nearest = squared(q64[:, None] - means, within).min(1)
    knn = NearestNeighbors(n_neighbors=4).fit(normalize(x64))
    return {
        "dim": 5,
        "x": x64.ravel().tolist(),
        "classes": classes.tolist(),
        "queries": q64.ravel().tolist(),
        "mahalanobis": nearest.tolist(),
        "relative": (nearest - squared(q64 - x64.mean(0), whole)).tolist(),
        "k": 4,
        "knn": knn.kneighbors(normalize(q64))[0][:, -1].tolist(),
    }


golden = {
    "versions": {"numpy": np.__version__, "scikit-learn": sklearn.__version__},
    "logistic": list(logistic_cases()),
    "projection": projection_case(),
    "distance": distance_case(),
}

path = pathlib.Path(__file__).with_name("drift.json")
path.write_text(json.dumps(golden) + "\n", encoding="utf-8")
