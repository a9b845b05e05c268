#!/usr/bin/env python3
"""Scores and seconds of `batchblend` and `popari` on simulated slices, beside the popari package.

    python benchmarks/spatial/msrt.py [--sets 0 1 2 3 4] [--seeds 11 12 [--effect multiplicative]] [--package 0 1 2] [--threads 2]

Sets are those of $UNBRAID_SHARED/data/msrt-sim; seeds are drawn by `unbraid simulate msrt`. K = 11, four neighbours on the grid. NMI and ARI of
k-means on Z (best inertia of 10 starts, as many clusters as cell types), silhouette of batches within cell types (mean over types of
the mean of 1 - |s|), mean size of a cell before and after the iterations in the tissue. The package runs 10 iterations of factorisation
and 50 in the tissue, from its svd start, in single precision. Needs NumPy, anndata, scikit-learn; torch and popari for --package.
"""
import argparse, json, os, subprocess, tempfile, time
from pathlib import Path

import anndata
import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score, silhouette_samples

FORMS = {
    "batchblend": ("batchblend", {}),
    "batchblend, 50 in the tissue": ("batchblend", {"max_steps": 50}),
    "batchblend, gene_scale": ("batchblend", {"gene_scale": 0.2}),
    "batchblend, thesis": ("batchblend", {"preset": "paper"}),
    "popari, paper": ("popari", {"preset": "paper"}),
    "popari": ("popari", {}),
}


def scores(z, kinds, batch):
    kinds, batch = np.asarray(kinds.astype(str)), np.asarray(batch.astype(str))
    found = KMeans(len(set(kinds)), n_init=10, random_state=0).fit_predict(z)
    mixed = []
    for kind in sorted(set(kinds)):
        at = kinds == kind
        if 1 < len(set(batch[at])) < at.sum():
            mixed.append(np.mean(1 - np.abs(silhouette_samples(z[at], batch[at]))))
    return (
        normalized_mutual_info_score(kinds, found),
        adjusted_rand_score(kinds, found),
        float(np.mean(mixed)),
    )


def ours(program, path, folder, method, sets, threads):
    out = Path(folder) / "fit.h5ad"
    settings = sum((["--set", f"{k}={v}"] for k, v in {**sets, "k": 11, "graph": "grid"}.items()), [])
    run = [program, "fit", method, path, "-o", out, "--threads", str(threads), "--json", "--quiet", *settings]
    said = json.loads(subprocess.run(run, check=True, capture_output=True).stdout)
    fit = anndata.read_h5ad(out)
    sizes = np.asarray(fit.uns[method]["sizes"])
    tissue = int(sets.get("max_steps", 15 if method == "batchblend" else 50))
    drift = 0.0 if sets.get("preset") == "paper" and method == "batchblend" else sizes[-1] / sizes[-tissue - 1] - 1
    return (*scores(fit.obsm[f"X_{method}"], fit.obs["cell_type"], fit.obs["batch"]), drift, said["seconds"])


def package(path, k=11, init="svd", seed=0, unit=1.0):
    """The package's model of the slices of a file, before its first iteration, and the rows of its slices in the file."""
    import awkward
    import torch
    from popari.model import Popari
    from scipy.sparse import csr_matrix
    from scipy.spatial import cKDTree

    torch.set_num_threads(2)
    data = anndata.read_h5ad(path)
    slices, rows = [], []
    for batch in data.obs["batch"].cat.categories:
        rows.append(np.flatnonzero(data.obs["batch"] == batch))
        part = data[rows[-1]].copy()
        part.X = csr_matrix(unit * part.X)
        tree = cKDTree(np.asarray(part.obsm["spatial"]))
        step = tree.query(tree.data, k=2)[0][:, 1].min()
        i, j = tree.query_pairs(1.2 * step, output_type="ndarray").T
        near = csr_matrix((np.ones(2 * len(i)), (np.r_[i, j], np.r_[j, i])), shape=(len(rows[-1]),) * 2)
        part.obsp["adjacency_matrix"] = near
        part.obsm["adjacency_list"] = awkward.Array([near.indices[a:b].tolist() for a, b in zip(near.indptr, near.indptr[1:])])
        slices.append(part)
    names = [str(b) for b in data.obs["batch"].cat.categories]
    model = Popari(K=k, datasets=slices, replicate_names=names, initialization_method=init, verbose=0, random_state=seed)
    return model, data, np.concatenate(rows)


def step(model, tissue):
    """One iteration of the package, and how long it took."""
    start = time.perf_counter()
    model.estimate_parameters(update_spatial_affinities=tissue)
    model.estimate_weights(use_neighbors=tissue)
    return time.perf_counter() - start


def package_scores(path, seed, unit):
    model, data, rows = package(path, seed=seed, unit=unit)
    alone = sum(step(model, False) for _ in range(10)) / 10
    tissue = sum(step(model, True) for _ in range(50)) / 50
    x = np.vstack([s.obsm["X"] for s in model.datasets])
    z = np.empty_like(x)
    z[rows] = x / x.sum(1, keepdims=True)
    return (*scores(z, data.obs["cell_type"], data.obs["batch"]), alone, tissue)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="target/release/unbraid")
    parser.add_argument("--sets", type=int, nargs="*", default=[0, 1, 2, 3, 4])
    parser.add_argument("--seeds", type=int, nargs="*", default=[])
    parser.add_argument("--effect", default="additive", help="of the sets drawn by --seeds")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--forms", nargs="*", default=list(FORMS))
    parser.add_argument("--package", type=int, nargs="*", default=[], help="seeds of the popari package; none: it does not run")
    parser.add_argument("--unit", type=float, default=1.0, help="what the package's input is multiplied with")
    args = parser.parse_args()
    shared = Path(os.environ.get("UNBRAID_SHARED", "../shared"))
    with tempfile.TemporaryDirectory() as folder:
        files = {f"set {i}": shared / f"data/msrt-sim/msrt_seed{i}.h5ad" for i in args.sets}
        for seed in args.seeds:
            files[f"seed {seed}"] = Path(folder) / f"{seed}.h5ad"
            run = [args.program, "simulate", "msrt", "-o", files[f"seed {seed}"], "--seed", str(seed), "--set", f"effect={args.effect}"]
            subprocess.run(run, check=True, capture_output=True)
        for form in args.forms:
            method, sets = FORMS[form]
            rows = []
            for name, path in files.items():
                rows.append(ours(args.program, path, folder, method, sets, args.threads))
                print(f"{form:30} {name:8} NMI {rows[-1][0]:.3f} ARI {rows[-1][1]:.3f} batches {rows[-1][2]:.3f} drift {100 * rows[-1][3]:+.2f} % {rows[-1][4]:.2f} s", flush=True)
            mean, least = np.mean(rows, 0), np.min(rows, 0)
            print(f"{form:30} mean     NMI {mean[0]:.3f} ({least[0]:.3f}) ARI {mean[1]:.3f} ({least[1]:.3f}) batches {mean[2]:.3f} ({least[2]:.3f})")
        for name, path in files.items() if args.package else []:
            for seed in args.package:
                row = package_scores(path, seed, args.unit)
                print(f"{f'popari package, seed {seed}':30} {name:8} NMI {row[0]:.3f} ARI {row[1]:.3f} batches {row[2]:.3f} {row[3]:.3f} s and {row[4]:.3f} s an iteration", flush=True)


if __name__ == "__main__":
    main()
