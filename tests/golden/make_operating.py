"""Writes operating.json: thresholds and what they are worth by scikit-learn, for tests/golden_metrics.rs to agree with.

    pip install numpy scipy scikit-learn && python make_operating.py
"""

import json
import pathlib

import numpy as np
import scipy
import sklearn
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, precision_recall_curve, precision_recall_fscore_support

rng = np.random.default_rng(94)
CLASSES, DRIFT = 7, 6
# Of the challenge: a bad part passed as GOOD costs 10,000.
COST = np.ones((CLASSES, CLASSES))
COST[0, 1:], COST[1:, 0], COST[DRIFT, 1:], COST[1:, DRIFT] = 100, 10_000, 1_000, 1_000
COST[0, DRIFT] = COST[DRIFT, 0] = 10_000
np.fill_diagonal(COST, 0)


def expected_cost(actual, answers, rate):
    """Mean cost with drift as frequent as `rate`, whatever its share of the labels."""
    drift = actual == DRIFT
    weight = np.where(drift, rate / drift.sum(), (1 - rate) / (~drift).sum())
    shares = confusion_matrix(actual, answers, labels=range(CLASSES), sample_weight=weight)
    return (shares * COST).sum()


def candidates(case, aim, rate):
    """The distinct scores as thresholds, the highest first, each with what the aim wants to be large."""
    actual, network, scores = case
    precision, recall, thresholds = precision_recall_curve(actual == DRIFT, scores)
    precision, recall, thresholds = precision[-2::-1], recall[-2::-1], thresholds[::-1]
    if aim == "f1":
        return thresholds, 2 * precision * recall / np.maximum(precision + recall, 1e-12), 0.0
    if aim == "catch":
        return thresholds, (recall >= 0.99 - 1e-12).astype(float), 0.0
    worth = [-expected_cost(actual, np.where(scores >= t, DRIFT, network), rate) for t in thresholds]
    return thresholds, np.array(worth), -expected_cost(actual, network, rate)


def choose(case, aim, rate):
    """The highest of the best thresholds, halfway down to the next score."""
    thresholds, worth, without_alarms = candidates(case, aim, rate)
    best = worth.max()
    if thresholds[0] < 1 and without_alarms >= best - 1e-9:
        return (1 + thresholds[0]) / 2
    at = int((worth >= best - 1e-9).argmax())
    below = thresholds[at + 1] if at + 1 < len(thresholds) else 0.0
    return (thresholds[at] + below) / 2


def proportion(hits, n):
    interval = binomtest(int(hits), int(n)).proportion_ci(0.95, method="wilson") if n else (0.0, 1.0)
    return [float(end) for end in interval]


def point(case, aim, rate):
    actual, network, scores = case
    drift, n = actual == DRIFT, len(actual)
    # Each image by a threshold chosen without it, or without its hundredth part: dealt by turns, drift first.
    part = np.empty(n, int)
    part[np.argsort(~drift, kind="stable")] = np.arange(n) % min(n, 100)
    chosen = np.array([choose([a[part != p] for a in case], aim, rate) for p in range(part.max() + 1)])
    alarms = scores >= chosen[part]
    precision, recall, f1, _ = precision_recall_fscore_support(
        drift, alarms, average="binary", zero_division=0
    )
    return {
        "aim": aim,
        "threshold": choose(case, aim, rate),
        "caught": int((alarms & drift).sum()),
        "false_alarms": int((alarms & ~drift).sum()),
        "f1": float(f1),
        "recall": [float(recall), *proportion((alarms & drift).sum(), drift.sum())],
        "precision": [float(precision), *proportion((alarms & drift).sum(), alarms.sum())],
        "cost": expected_cost(actual, np.where(alarms, DRIFT, network), rate),
    }


def case(n, n_drift, steps, rate, gap):
    """Scores on few steps, so that many are equal; drift lies higher by `gap`."""
    drift = rng.permutation(n) < n_drift
    scores = np.clip(rng.normal(0.35 + gap * drift, 0.2), 0, 1)
    scores = np.round(np.round(scores * steps) / steps, 4)
    actual = np.where(drift, DRIFT, rng.integers(0, 6, n))
    wrong = drift | (rng.random(n) < 0.15)
    network = np.where(wrong, rng.integers(0, 6, n), actual)
    data = (actual, network, scores)
    return {
        "rate": rate,
        "actual": actual.tolist(),
        "network": network.tolist(),
        "scores": scores.tolist(),
        "points": [point(data, aim, rate) for aim in ("cheapest", "f1", "catch")],
    }


cases = [
    case(24, 4, 10, 0.1, 0.4),
    case(40, 8, 5, 0.02, 0.3),
    case(60, 20, 20, 0.3, 0.25),
    case(90, 9, 12, 0.001, 0.3),
    # Nothing to be told apart.
    case(50, 10, 8, 0.1, 0.0),
    # More images than parts, and more drift than the one in a hundred that may be missed.
    case(260, 120, 25, 0.05, 0.45),
]
golden = {
    "versions": {"numpy": np.__version__, "scipy": scipy.__version__, "scikit-learn": sklearn.__version__},
    "cases": cases,
}
path = pathlib.Path(__file__).with_name("operating.json")
path.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
