"""Writes nndsvd_30x20/ beside this file: the starts of scikit-learn's NMF. Needs numpy and scikit-learn."""

import json
import pathlib

import numpy as np
import sklearn
from sklearn.decomposition import _nmf
from sklearn.decomposition._nmf import _initialize_nmf
from sklearn.utils.extmath import svd_flip


def exact_svd(x, k, random_state=None):
    """In place of the randomised decomposition, whose vectors are right to 1e-8 only."""
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    u, vt = svd_flip(u[:, :k], vt[:k])
    return u, s[:k], vt


_nmf._randomized_svd = exact_svd

here = pathlib.Path(__file__).parent / "nndsvd_30x20"
here.mkdir(exist_ok=True)
rng = np.random.default_rng(7)
x = rng.gamma(0.5, 1, (30, 6)) @ rng.gamma(0.5, 1, (6, 20)) + 0.05 * rng.random((30, 20))
x[rng.random(x.shape) < 0.2] = 0
arrays = {"X": x}
for init in ["nndsvd", "nndsvda"]:
    arrays[f"{init}_W"], arrays[f"{init}_H"] = _initialize_nmf(x, 5, init=init, eps=0, random_state=0)
np.savez_compressed(here / "case.npz", **arrays)
note = {
    "origin": f"scikit-learn {sklearn.__version__}, _initialize_nmf(X, 5, eps=0) on exact singular vectors; X made by NumPy {np.__version__}, see nndsvd.py",
    "n": 30,
    "d": 20,
    "k": 5,
    "dtype": "float64",
}
(here / "origin.json").write_text(json.dumps(note, indent=1) + "\n")
