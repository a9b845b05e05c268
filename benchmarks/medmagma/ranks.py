"""What a given rank costs on data without low rank: Kronecker-sum data, rank = 25 … 1000 against the full mode.

    python benchmarks/medmagma/ranks.py [--size 2000] [--seed 0] [--ranks 25 50 100 200 500 1000] [--noise 1]

Prints one JSON line a fit: area under the precision-recall curve of |Psi| on rows and columns, and the share of the
full mode's top-10 edges that are found again.
"""
import argparse
import json
import pathlib
import subprocess
import tempfile

import anndata
import numpy as np
from sklearn.metrics import auc, precision_recall_curve

import design

PROGRAM = pathlib.Path(__file__).resolve().parents[2] / "target" / "release" / "unbraid"


def fit(folder, data, *settings):
    """(row Psi, column Psi, report) with every entry kept."""
    out = f"{folder}/fit.h5ad"
    command = [PROGRAM, "fit", "medmagma", data, "-o", out, "--json", "--quiet", "--set", "keep=dense"]
    for setting in settings:
        command += ["--set", setting]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    fitted = anndata.read_h5ad(out)
    return np.asarray(fitted.obsp["medmagma_precision"]), np.asarray(fitted.varp["medmagma_precision"]), json.loads(done.stdout)


def area(psi, truth):
    at = np.tril_indices(len(truth), -1)
    precision, recall, _ = precision_recall_curve(truth[at] != 0, np.abs(psi[at]))
    return auc(recall, precision)


def edges(psi, k=10):
    score = np.abs(psi).copy()
    np.fill_diagonal(score, -1)
    best = np.argpartition(-score, k, axis=1)[:, :k]
    return {(min(i, j), max(i, j)) for i in range(len(score)) for j in best[i]}


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--size", type=int, default=2000)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--noise", type=float, default=1.0)
    options.add_argument("--ranks", type=int, nargs="+", default=[25, 50, 100, 200, 500, 1000])
    options = options.parse_args()
    x, *truth = design.sample(options.size, options.size, options.seed, options.noise)
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/x.npy", x)
        full = None
        cases = [("full", ["rank=full", "accelerate=true"])]
        cases += [(str(k), [f"rank={k}", f"form={form}", "features=factors"]) for form in ("gram", "precision") for k in options.ranks]
        for name, settings in cases:
            *psi, report = fit(folder, f"{folder}/x.npy", *settings)
            found = [edges(p) for p in psi]
            full = full or found
            print(json.dumps({
                "rank": name, "form": next((s[5:] for s in settings if s.startswith("form=")), "EM"),
                "aupr": [round(area(p, t), 4) for p, t in zip(psi, truth)],
                "overlap": [round(len(a & b) / len(b), 4) for a, b in zip(found, full)],
                "seconds": round(report["seconds"], 1)}), flush=True)


if __name__ == "__main__":
    main()
