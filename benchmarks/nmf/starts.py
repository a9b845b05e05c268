"""Starts of `nmf`: steps until a step changes the loss by 1e-5 of itself (the default rule), and the loss there over the best seen.

Five tables of each kind; random starts with five seeds each, NNDSVD as scikit-learn makes it (the golden case of `nmf` compares ours
with it). Needs the example `nmf_speed`.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from sklearn.decomposition._nmf import _initialize_nmf

ROOT = pathlib.Path(__file__).resolve().parents[2]
LONG = 400


def tables():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        low = rng.gamma(0.5, 1, (300, 8)) @ rng.gamma(0.5, 1, (8, 120))
        yield "gamma noise 300 x 120, k = 8", low * rng.gamma(5, 0.2, low.shape), 8
        low = rng.gamma(0.3, 1, (600, 10)) @ rng.gamma(0.3, 1, (10, 200))
        yield "counts 600 x 200, k = 10", rng.poisson(low * 0.3 / low.mean()).astype(float), 10
        low = rng.gamma(0.5, 1, (200, 20)) @ rng.gamma(0.5, 1, (20, 80))
        yield "more factors than fitted 200 x 80, k = 5", low, 5


def run(program, x, k, loss, w, h):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        np.array([*x.shape, k, 0], dtype="<u8").tofile(folder / "shape")
        x.astype("<f8").tofile(folder / "values")
        np.ascontiguousarray(w).astype("<f8").tofile(folder / "scores")
        np.ascontiguousarray(h.T).astype("<f8").tofile(folder / "loadings")
        out = subprocess.run([program, folder, loss, "coordinate", "2", str(LONG), "1"], check=True, capture_output=True, text=True).stdout
    course = np.array(out.split(), float).reshape(-1, 2)[:, 1]
    ends = np.nonzero(np.abs(np.diff(course)) <= 1e-5 * course[1:])[0]
    at = ends[0] + 1 if len(ends) else len(course) - 1
    return at + 1, course[at], course[-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / "target/release/examples/nmf_speed")
    a = parser.parse_args()
    found = {}
    for name, x, k in tables():
        x = np.maximum(x, 0)
        for loss in ["kl", "frobenius"]:
            results = {}
            for seed in range(5):
                rng = np.random.default_rng(100 + seed)
                size = 2 * np.sqrt(x.mean() / k)
                w, h = size * (rng.random((x.shape[0], k)) + 0.01), size * (rng.random((k, x.shape[1])) + 0.01)
                results.setdefault("random", []).append(run(a.program, x, k, loss, w, h))
            for init in ["nndsvd", "nndsvda"]:
                w, h = _initialize_nmf(x, k, init=init, eps=0, random_state=0)
                results[init] = [run(a.program, x, k, loss, w, h)]
            best = min(r[2] for rs in results.values() for r in rs)
            for init, rs in results.items():
                found.setdefault((name, loss, init), []).extend((s, 100 * (v / best - 1)) for s, v, _ in rs)
    print(f"# Python {sys.version.split()[0]}; steps: median; loss above the best in percent: median and largest")
    for (name, loss, init), rs in found.items():
        steps, above = np.array(rs).T
        print(f"{name:42s} {loss:10s} {init:8s} steps {np.median(steps):4.0f}   {np.median(above):7.3f} {above.max():7.3f}")


if __name__ == "__main__":
    main()
