"""Writes silhouette.json beside this file: silhouettes by scikit-learn, and the shares of batches by regression.

`samples` are silhouette widths by labels. `batch` is the mean over labels of the mean of 1 - |s| of the batches within a label, labels of one batch and those
in which every point has a batch of its own left out. `explained` is the sum over principal components of variance times R² of least squares
on the batches, over the sum of the variances. Needs NumPy and scikit-learn; versions are stored in it.
"""
import json
import pathlib

import numpy as np
import sklearn
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.metrics import silhouette_samples

HERE = pathlib.Path(__file__).parent
rng = np.random.default_rng(5)
cases = []
for n, d, labels, batches in [(40, 3, 4, 2), (70, 5, 3, 4), (25, 2, 6, 3)]:
    label, batch = rng.integers(0, labels, n), rng.integers(0, batches, n)
    label[0] = labels  # one point alone
    batch[label == 1] = 0  # a label of one batch
    x = np.round(rng.normal(size=(n, d)) + label[:, None] + 0.7 * batch[:, None], 6)
    mixed = []
    for of in np.unique(label):
        at = label == of
        if 1 < len(set(batch[at])) < at.sum():
            mixed.append(np.mean(1 - np.abs(silhouette_samples(x[at], batch[at]))))
    pca = PCA(svd_solver="full").fit(x)
    scores, dummies = pca.transform(x), np.eye(batches)[batch]
    r2 = [max(0, LinearRegression().fit(dummies, s).score(dummies, s)) for s in scores.T]
    cases.append({"points": x.tolist(), "labels": label.tolist(), "batch": batch.tolist(), "samples": silhouette_samples(x, label).tolist(),
                  "mixed": float(np.mean(mixed)), "explained": float(np.dot(r2, pca.explained_variance_) / pca.explained_variance_.sum())})
origin = {"script": "silhouette.py", "versions": {"numpy": np.__version__, "sklearn": sklearn.__version__}}
(HERE / "silhouette.json").write_text(json.dumps({"origin": origin, "cases": cases}))
