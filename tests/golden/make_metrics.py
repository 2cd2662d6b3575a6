"""Writes metrics.json: what scikit-learn and SciPy say, for tests/golden_metrics.rs to agree with.

    pip install numpy scipy scikit-learn && python make_metrics.py
"""

import json
import pathlib

import numpy as np
import scipy
import sklearn
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from scipy.stats import binomtest
from sklearn import metrics

rng = np.random.default_rng(157)


def classification(names, y_true, y_pred):
    y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
    k = len(names)
    every = list(range(k))
    present = sorted(set(y_true) | set(y_pred))
    p, r, f, s = metrics.precision_recall_fscore_support(
        y_true, y_pred, labels=every, zero_division=0
    )

    def averaged(average):
        values = metrics.precision_recall_fscore_support(
            y_true, y_pred, average=average, zero_division=0
        )
        return [float(v) for v in values[:3]]

    return {
        "names": names,
        "y_true": y_true.tolist(),
        "y_pred": y_pred.tolist(),
        "confusion": metrics.confusion_matrix(y_true, y_pred, labels=every).tolist(),
        "accuracy": metrics.accuracy_score(y_true, y_pred),
        "balanced_accuracy": metrics.balanced_accuracy_score(y_true, y_pred),
        "precision": p.tolist(),
        "recall": r.tolist(),
        "f1": f.tolist(),
        "support": np.asarray(s, int).tolist(),
        "macro": averaged("macro"),
        "weighted": averaged("weighted"),
        "text": {
            str(digits): metrics.classification_report(
                y_true,
                y_pred,
                labels=present,
                target_names=[names[i] for i in present],
                digits=digits,
                zero_division=0,
            )
            # Where nothing is right, scikit-learn prints its counts as floats ("1.0"): not copied.
            for digits in ((2, 4) if (y_true == y_pred).any() else ())
        },
    }


def noisy(k, support, wrong):
    y_true = np.repeat(np.arange(k), support)
    y_pred = y_true.copy()
    flip = rng.random(len(y_true)) < wrong
    y_pred[flip] = rng.integers(0, k, flip.sum())
    return y_true, y_pred


def binary(scores, labels):
    scores, labels = np.asarray(scores, float), np.asarray(labels, bool)
    precision, recall, thresholds = metrics.precision_recall_curve(labels, scores)
    case = {
        "scores": scores.tolist(),
        "labels": labels.tolist(),
        "precision": precision.tolist(),
        "recall": recall.tolist(),
        "thresholds": thresholds.tolist(),
        "average_precision": metrics.average_precision_score(labels, scores),
        "f1_at_half": metrics.f1_score(labels, scores >= 0.5, zero_division=0),
    }
    if not labels.all():
        case["roc_auc"] = metrics.roc_auc_score(labels, scores)
        case["best_f1"] = max(metrics.f1_score(labels, scores >= t) for t in thresholds)
    return case


def expected_calibration_error(p, y, bins):
    """Guo et al. 2017, bins [lo, hi), 1 in the last."""
    which = np.minimum((p * bins).astype(int), bins - 1)
    gaps = [
        (which == b).sum() * abs(p[which == b].mean() - y[which == b].mean())
        for b in range(bins)
        if (which == b).any()
    ]
    return sum(gaps) / len(p)


def probabilities(p, y):
    p, y = np.asarray(p, float), np.asarray(y, bool)
    return {
        "p": p.tolist(),
        "y": y.tolist(),
        "brier": metrics.brier_score_loss(y, p),
        "log_loss": metrics.log_loss(y, p, labels=[False, True]),
        "ece_10": expected_calibration_error(p, y, 10),
        "ece_15": expected_calibration_error(p, y, 15),
    }


def temperature(logits, truth):
    logits = np.asarray(logits, np.float32)

    def nll(t):
        z = logits.astype(float) / t
        return float((logsumexp(z, axis=1) - z[np.arange(len(truth)), truth]).mean())

    best = minimize_scalar(
        lambda u: nll(np.exp(u)), bounds=(-4, 4), method="bounded", options={"xatol": 1e-10}
    )
    return {
        "classes": logits.shape[1],
        "logits": logits.ravel().tolist(),
        "truth": np.asarray(truth).tolist(),
        "temperature": float(np.exp(best.x)),
        "nll_at_1": nll(1.0),
        "nll_best": float(best.fun),
    }


CHALLENGE = ["GOOD", "Flat loop", "White lift-off", "Black lift-off", "Missing", "Short circuit", "Drift"]
n = 80
tied = rng.integers(0, 8, n) / 8
smooth = rng.random(n)
labels = rng.random(n) < 0.3
logits = rng.normal(size=(60, 6)) * 4
truth = np.where(rng.random(60) < 0.5, logits.argmax(1), rng.integers(0, 6, 60))

golden = {
    "versions": {"numpy": np.__version__, "scipy": scipy.__version__, "scikit-learn": sklearn.__version__},
    "classification": [
        classification(CHALLENGE, *noisy(7, [24, 5, 9, 4, 60, 3, 7], 0.25)),
        # Flat loop never true but answered, White lift-off true but never answered, the rest of neither.
        classification(CHALLENGE, [0, 0, 0, 2, 2, 4, 4, 4, 4], [0, 0, 1, 0, 4, 4, 4, 4, 1]),
        # A single class, always right.
        classification(CHALLENGE[:2], [0, 0, 0], [0, 0, 0]),
        # Nothing right at all.
        classification(["a", "b", "c"], [0, 1, 2], [1, 2, 0]),
        # A name wider than any heading, and one that is not ASCII.
        classification(["une classe très longue, élargie", "b"], *noisy(2, [1200, 34], 0.1)),
    ],
    "binary": [
        binary(smooth, labels),
        binary(tied, labels),
        binary(np.full(10, 0.5), [True] * 3 + [False] * 7),
        binary([0.1, 0.4, 0.35, 0.8], [False, False, True, True]),
        binary([0.9, 0.2, 0.2], [True, True, True]),
    ],
    "probabilities": [
        probabilities(smooth, rng.random(n) < smooth),
        probabilities(tied, labels),
        probabilities([0.0, 1.0, 1.0, 0.25], [True, True, False, False]),
    ],
    "temperature": [temperature(logits, truth), temperature(logits * 0.1, truth)],
    "wilson": [
        {"successes": k, "trials": m, "interval": list(binomtest(k, m).proportion_ci(0.95, "wilson"))}
        for k, m in [(0, 5), (1, 5), (5, 5), (15, 17), (40, 1055), (500, 1000)]
    ],
}

path = pathlib.Path(__file__).with_name("metrics.json")
path.write_text(json.dumps(golden, ensure_ascii=False, indent=None) + "\n", encoding="utf-8")
