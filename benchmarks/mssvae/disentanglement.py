"""`unbraid evaluate factors` beside scikit-learn: the disentanglement of 45 codes of 14 true factors.

Usage: python disentanglement.py UNBRAID [--seeds N]. Codes are made from the true scores of `simulate multistudy`
(3 × 1000 observations): shared ones mixed a little and noisy, each study's own likewise and 0 in other studies, the rest of
the 30 + 3·5 columns noise. scikit-learn fits every factor by GradientBoostingRegressor() with several random states.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile
import time

import anndata as ad
import numpy as np
import pandas as pd
import sklearn
from sklearn.ensemble import GradientBoostingRegressor


def score(r):
    """Sum over codes of weight times 1 + sum P log P, base the number of factors."""
    total, rows = r.sum(), r.sum(1)
    p = np.divide(r, rows[:, None], out=np.zeros_like(r), where=rows[:, None] > 0)
    d = 1 + np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0).sum(1) / np.log(r.shape[1])
    return float((rows / total * d).sum())


def codes(z, study, rng):
    shared = z[:, :8] @ (np.eye(8) + 0.15 * rng.normal(size=(8, 8)))
    out = [shared + 0.1 * rng.normal(size=shared.shape), 0.05 * rng.normal(size=(len(z), 22))]
    for m in range(3):
        own = z[:, 8 + 2 * m:10 + 2 * m] + 0.1 * rng.normal(size=(len(z), 2))
        out.append(np.c_[own, 0.05 * rng.normal(size=(len(z), 3))] * (study == m)[:, None])
    return np.hstack(out)


parser = argparse.ArgumentParser()
parser.add_argument("unbraid")
parser.add_argument("--seeds", type=int, default=3)
args = parser.parse_args()
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "toy.h5ad"
    subprocess.run([args.unbraid, "simulate", "multistudy", "-o", path, "--seed", "1"], check=True, capture_output=True)
    a = ad.read_h5ad(path)
    study = a.obs["study"].cat.codes.to_numpy()
    x, z = codes(a.obsm["X_truth"], study, np.random.default_rng(0)), a.obsm["X_truth"]
    a.obsm["X_m"] = x
    a.varm["m_loadings"] = np.zeros((a.n_vars, x.shape[1]))
    a.uns["m"] = {"factors": pd.DataFrame({"study": ["shared"] * 30 + [f"study{m}" for m in range(3) for _ in range(5)]},
                                          index=[str(k) for k in range(45)])}
    a.write_h5ad(path)
    begun = time.perf_counter()
    ran = subprocess.run([args.unbraid, "evaluate", "factors", path, "--json"], check=True, capture_output=True)
    ours = json.loads(ran.stdout)
    print(f"unbraid: {ours['disentanglement']:.5f} in {time.perf_counter() - begun:.2f} s "
          f"({x.shape[0]} × {x.shape[1]} codes, {z.shape[1]} factors)")
    for seed in range(args.seeds):
        begun = time.perf_counter()
        fit = [GradientBoostingRegressor(random_state=seed).fit(x, t).feature_importances_ for t in z.T]
        print(f"scikit-learn {sklearn.__version__}, random_state {seed}: {score(np.array(fit).T):.5f} "
              f"in {time.perf_counter() - begun:.1f} s", flush=True)
