"""Time and peak memory of the low-rank mode as the rows grow: sparse counts, 5 % filled.

    python benchmarks/medmagma/rows.py [--sizes 12500 25000 50000 100000] [--features 2000] [--rank 50] [--form gram]

Counts are Poisson with rates from GROUPS groups of cells, a depth per cell and an abundance per gene. Prints one
JSON line a size: seconds of the fit, of the whole command, peak memory of the process.
"""
import argparse
import json
import os
import pathlib
import tempfile
import time

import anndata
import numpy as np
import scipy.sparse as sp

PROGRAM = pathlib.Path(__file__).resolve().parents[2] / "target" / "release" / "unbraid"
GROUPS = 20


def counts(n, m, filled, seed):
    """n x m CSR of counts with about that share of entries above zero."""
    rng = np.random.default_rng(seed)
    abundance = rng.lognormal(0, 1, m)
    profile = abundance * rng.lognormal(0, 0.7, (GROUPS, m))
    group, depth = rng.integers(GROUPS, size=n), rng.lognormal(0, 0.4, n)
    level = 1.0
    for _ in range(30):
        level *= filled / np.mean(1 - np.exp(-level * depth[:500, None] * profile[group[:500]]))
    blocks = []
    for start in range(0, n, 5000):
        at = slice(start, min(start + 5000, n))
        blocks.append(sp.csr_matrix(rng.poisson(level * depth[at, None] * profile[group[at]]).astype(np.float32)))
    return sp.vstack(blocks).tocsr()


def measured(command):
    """(stdout, seconds, peak bytes) of a child process."""
    read, write = os.pipe()
    begun = time.time()
    child = os.fork()
    if child == 0:
        os.dup2(write, 1)
        os.execv(command[0], command)
    os.close(write)
    with os.fdopen(read) as pipe:
        out = pipe.read()
    _, status, usage = os.wait4(child, 0)
    if status:
        raise SystemExit(f"{command} failed with status {status}")
    return out, time.time() - begun, usage.ru_maxrss * 1024


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sizes", type=int, nargs="+", default=[12500, 25000, 50000, 100000])
    options.add_argument("--features", type=int, default=2000)
    options.add_argument("--filled", type=float, default=0.05)
    options.add_argument("--rank", default="50")
    options.add_argument("--form", default="gram")
    options = options.parse_args()
    for n in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            data, out = f"{folder}/x.h5ad", f"{folder}/fit.h5ad"
            x = counts(n, options.features, options.filled, 0)
            x = x[np.asarray(x.sum(1)).ravel() > 0]
            anndata.AnnData(x).write_h5ad(data)
            command = [str(PROGRAM), "fit", "medmagma", data, "-o", out, "--json", "--quiet"]
            command += ["--set", f"rank={options.rank}", "--set", f"form={options.form}"]
            report, whole, peak = measured(command)
            report = json.loads(report)
            print(json.dumps({"rows": x.shape[0], "features": options.features, "nonzeros": x.nnz,
                              "rank": options.rank, "form": options.form, "fit_seconds": round(report["seconds"], 2),
                              "whole_seconds": round(whole, 2), "peak_mb": round(peak / 1e6)}), flush=True)


if __name__ == "__main__":
    main()
