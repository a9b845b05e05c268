#!/usr/bin/env python3
"""Our UMAP beside umap-learn: trustworthiness at 15 neighbours, and seconds.

    cargo build --release -p unbraid --example umap
    python benchmarks/umap/pictures.py [--program target/release/examples/umap] [--seeds 0 1 2] [--threads 2]

Digits (1797 images x 64 pixels, as they are), mouse cortex (Zeisel) and three slices of mouse cortex (STARmap), both by the 50 leading principal
components of log(1 + 10 000 a cell), of $UNBRAID_SHARED. 15 neighbours, distance 0.1, the default epochs of each. umap-learn runs with a seed,
which holds it to one thread; its first run, which compiles, is left out. Trustworthiness of all pictures is computed by scikit-learn. The last column
says whether our picture has the same bits on 1, 2 and 8 threads and in a second run. Needs NumPy, SciPy, anndata, scikit-learn, umap-learn.
"""
import argparse, gzip, os, subprocess, tempfile, time, warnings
from pathlib import Path

import anndata
import numpy as np
import scipy.io
import scipy.sparse
import sklearn
import umap
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness

ROOT = Path(__file__).resolve().parents[2]


def components(path):
    data = anndata.read_h5ad(path)
    x = data.X.toarray() if scipy.sparse.issparse(data.X) else np.asarray(data.X)
    x = x.astype(float)
    x = np.log1p(1e4 * x / np.maximum(x.sum(1, keepdims=True), 1e-12))
    return PCA(50, svd_solver="full").fit_transform(x)


def tables(shared):
    with gzip.open(shared / "coclustering/digits/X.mtx.gz") as file:
        yield "digits", scipy.io.mmread(file).toarray().astype(float)
    yield "mouse cortex", components(shared / "scrna-labelled/zeisel_cortex_1464.h5ad")
    yield "STARmap slices", components(shared / "spatial-labelled/starmap-mpfc-3mice.h5ad")


def ours(program, x, seed, threads, runs=1):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        np.array(x.shape, "<u8").tofile(folder / "shape")
        np.ascontiguousarray(x, "<f8").tofile(folder / "values")
        said = subprocess.run([program, folder, "15", "0.1", str(seed), str(threads), str(runs)], check=True, capture_output=True, text=True).stdout
        lines = [line.split() for line in said.splitlines()]
        return np.fromfile(folder / "picture", "<f8").reshape(-1, 2), min(float(line[0]) for line in lines), float(lines[-1][1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, default=ROOT / "target/release/examples/umap")
    parser.add_argument("--only", nargs="*", default=["digits", "cortex", "STARmap"], help="words of the names of tables")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    print(f"# umap-learn {umap.__version__}, scikit-learn {sklearn.__version__}, NumPy {np.__version__}; ours on {args.threads} threads, umap-learn on 1", flush=True)
    umap.UMAP(n_epochs=5, random_state=0).fit_transform(np.random.default_rng(0).normal(size=(400, 5)))
    for name, x in tables(Path(os.environ.get("UNBRAID_SHARED", "../shared")) / "data"):
        if not any(word in name for word in args.only):
            continue
        rows = []
        for seed in args.seeds:
            begun = time.perf_counter()
            theirs = umap.UMAP(n_neighbors=15, min_dist=0.1, random_state=seed).fit_transform(x)
            seconds = time.perf_counter() - begun
            own, fast, said = ours(args.program, x, seed, args.threads)
            kept = trustworthiness(x, own, n_neighbors=15)
            assert abs(kept - said) < 1e-5, (kept, said)
            rows.append((kept, trustworthiness(x, theirs, n_neighbors=15), fast, seconds))
            print(f"{name:16} {x.shape[0]:6} x {x.shape[1]:<4} seed {seed}  ours {rows[-1][0]:.4f}  umap-learn {rows[-1][1]:.4f}  {fast:6.2f} s  {seconds:6.2f} s", flush=True)
        base, _, _ = ours(args.program, x, args.seeds[0], 1, 2)
        same = all(np.array_equal(base, ours(args.program, x, args.seeds[0], threads)[0]) for threads in (2, 8))
        kept, theirs, fast, slow = np.mean(rows, 0)
        print(f"{name:16} mean                   ours {kept:.4f}  umap-learn {theirs:.4f}  {fast:6.2f} s  {slow:6.2f} s  same bits: {'yes' if same else 'NO'}", flush=True)


main()
