"""How far a linear model gets on the training images of a made data set: logistic regression on 32x32 pixels.

    driftscope sample --out made --train 2000 --test 400 --seed 7
    pip install numpy pillow scikit-learn && python linear_baseline.py made

Prints macro-F1 on a stratified fifth for five split seeds and three strengths of regularisation, on
plain and on standardised pixels. docs/BENCHMARKS.md quotes it.
"""

import csv
import pathlib
import sys
import warnings

import numpy as np
from PIL import Image
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

warnings.simplefilter("ignore", ConvergenceWarning)
root = pathlib.Path(sys.argv[1])
with open(root / "Y_train_eVW9jym.csv", newline="") as table:
    rows = list(csv.DictReader(table))


def pixels(name):
    image = Image.open(root / "input_train" / "input_train" / name)
    return np.asarray(image.resize((32, 32), Image.BOX)).ravel() / 255


x = np.stack([pixels(row["filename"]) for row in rows])
y = np.array([row["Label"] for row in rows])
print(f"{len(y)} images, split seeds 42 1 2 3 4")
for standardised in (False, True):
    for strength in (0.03, 0.3, 3):
        scores = []
        for seed in (42, 1, 2, 3, 4):
            a, b, c, d = train_test_split(x, y, test_size=0.2, random_state=seed, stratify=y)
            if standardised:
                scaler = StandardScaler().fit(a)
                a, b = scaler.transform(a), scaler.transform(b)
            guess = LogisticRegression(C=strength, max_iter=200).fit(a, c).predict(b)
            scores.append(f1_score(d, guess, average="macro"))
        name = "standardised" if standardised else "plain"
        each = " ".join(f"{score:.3f}" for score in scores)
        print(f"{name:12}  C={strength:<5}  {each}  mean {np.mean(scores):.3f}", flush=True)
