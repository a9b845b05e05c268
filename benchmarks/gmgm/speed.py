"""GmGM against the GmGM package, in turn, on the same input: time, and the edges of the package's own Psi.

Gram path: all components, every entry of both precisions formed by either side. n_comps: the k leading
singular vectors, and the ten strongest edges of each row by either side. The package's row-wise choice does not
follow its definition; edges are compared with the ten largest |Psi| of each row of the package's own Psi.
"""
import argparse
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
import warnings

import anndata
import numpy as np
from scipy import sparse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "medmagma"))
import design  # noqa: E402
import program  # noqa: E402

warnings.simplefilter("ignore")


def ours(x, k, repeats):
    """Least seconds from the table in memory to both networks, mean processor seconds of the whole program with
    reading and writing, steps, and the fitted table."""
    with tempfile.TemporaryDirectory() as folder:
        data, out = f"{folder}/x.h5ad", f"{folder}/fit.h5ad"
        anndata.AnnData(x).write_h5ad(data)
        settings = ["preset=paper", f"n_comps={k}"] + (["keep=top:10"] if k else [])
        command = [program.PROGRAM, "fit", "gmgm", data, "-o", out, "--json", *[w for s in settings for w in ("--set", s)]]
        cpu = resource.getrusage(resource.RUSAGE_CHILDREN)
        runs = [json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(repeats)]
        now = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = (now.ru_utime + now.ru_stime - cpu.ru_utime - cpu.ru_stime) / repeats
        return min(r["seconds"] for r in runs), used, runs[0]["sweeps"], anndata.read_h5ad(out)


def theirs(x, k, repeats):
    """Least seconds and processor seconds of the package, and its two precisions."""
    import GmGM

    times, used = [], []
    for _ in range(repeats + 1):  # the first run compiles
        data = GmGM.Dataset(dataset={"data": x.copy()}, structure={"data": ("row", "col")})
        begun, cpu = time.perf_counter(), time.process_time()
        if k:
            GmGM.GmGM(data, n_comps=k, to_keep=10, threshold_method="rowwise", random_state=0)
        else:
            GmGM.GmGM(data, to_keep=None)
        times.append(time.perf_counter() - begun)
        used.append(time.process_time() - cpu)
    psi = []
    for axis in ("row", "col"):
        if k:
            v, values = np.asarray(data.evecs[axis]), np.asarray(data.evals[axis])
            psi.append((v * values) @ v.T)
        else:
            found = data.precision_matrices[axis]
            psi.append(np.asarray(found.todense() if sparse.issparse(found) else found))
    return min(times[1:]), min(used[1:]), psi


def spiked(n, m, k, thin, rng):
    """k components that stand apart from each other and from noise, so that the leading k are well determined: dense
    values, or counts of k groups of rows and columns (about 3 % not zero)."""
    if thin:
        rate = np.full((n, m), 0.01)
        for g, strength in enumerate(np.geomspace(4, 1, k)):
            rate[np.ix_(np.arange(n) % k == g, np.arange(m) % k == g)] = strength
        return sparse.csr_matrix(rng.poisson(rate).astype(float))
    u, v = (np.linalg.qr(rng.normal(size=(d, k)))[0] for d in (n, m))
    return (u * np.geomspace(2000, 200, k)) @ v.T + 0.1 * rng.normal(size=(n, m))


def top(psi, k=10):
    """The k largest |psi| of each row, in either direction, as a set of pairs."""
    score = np.abs(psi).copy()
    np.fill_diagonal(score, 0)
    best = np.argpartition(-score, k, axis=1)[:, :k]
    return {(min(i, j), max(i, j)) for i in range(len(score)) for j in best[i]}


def kept(matrix):
    m = sparse.coo_matrix(matrix)
    return {(min(i, j), max(i, j)) for i, j, v in zip(m.row, m.col, m.data) if i != j and v != 0}


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--repeats", type=int, default=3)
    p.add_argument("--cases", nargs="+", default=["gram:500x500", "gram:300x600", "dense:5000x2000", "sparse:5000x2000"])
    p.add_argument("--comps", type=int, default=50)
    args = p.parse_args()
    print("case               package s  ours s (steps)  ratio   CPU s: package, program  ratio   same top-10 edges (rows, columns)")
    for case in args.cases:
        kind, size = case.split(":")
        n, m = map(int, size.split("x"))
        rng = np.random.default_rng(0)
        if kind == "gram":
            x, k = design.sample(n, m, 0, noise=0.0)[0], 0
        else:
            x, k = spiked(n, m, args.comps, kind == "sparse", rng), args.comps
        package, their_cpu, psi = theirs(x, k, args.repeats)
        seconds, cpu, steps, fitted = ours(x, k, args.repeats)
        shares = []
        for theirs_psi, pairs in zip(psi, (fitted.obsp, fitted.varp)):
            found = pairs["gmgm_precision"]
            edges = kept(found) if k else top(np.asarray(found))
            wanted = top(theirs_psi)
            shares.append(len(edges & wanted) / len(edges | wanted))
        print(f"{case:18} {package:8.3f}  {seconds:7.3f} ({steps:3})   {package / seconds:5.1f}   {their_cpu:8.3f} {cpu:8.3f}        {their_cpu / cpu:5.1f}   {shares[0]:.4f} {shares[1]:.4f}", flush=True)


if __name__ == "__main__":
    main()
