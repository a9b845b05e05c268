"""Stable edges against simulated truth: false-discovery proportion, power, and the bounds, by threshold.

Data and halves come from the program's own seeds, so that a run gives the same numbers again.
"""
import argparse
import json
import pathlib
import resource
import subprocess
import tempfile

import anndata
import numpy as np
from scipy import sparse

import program

THRESHOLDS = [0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 0.95]
MODES = {"default": [], "paper": ["--set", "preset=paper"]}


def judge(n, m, seed, mode, sign, edges, refits):
    """(frequencies, truth) of both axes, edges a refit selects, and CPU seconds of the program."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        data, out = folder / "data.h5ad", folder / "stable.h5ad"
        subprocess.run([program.PROGRAM, "simulate", "kronecker", "-o", data, "--seed", str(seed), "--set", f"sign={sign}",
                        "--set", f"observations={n}", "--set", f"features={m}"], check=True, capture_output=True)
        begun = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        said = subprocess.run([program.PROGRAM, "stability", "medmagma", data, "-o", out, "--seed", str(seed), "--json",
                               "--refits", str(refits), "--edges", edges, *MODES[mode]], check=True, capture_output=True, text=True)
        used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - begun
        table, said = anndata.read_h5ad(out), json.loads(said.stdout)
        pairs = [(table.obsp, "obs"), (table.varp, "var")]
        found = [sparse.tril(p["medmagma_stability"], -1).toarray() for p, _ in pairs]
        truth = [np.tril(abs(p["truth_precision"]).toarray() > 0, -1) for p, _ in pairs]
        return found, truth, [x["selected_per_refit"] for x in said["networks"]], used, said["seconds"]


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--seeds", type=int, default=20)
    p.add_argument("--sizes", nargs="+", default=["100x150", "200x200"])
    p.add_argument("--modes", nargs="+", default=list(MODES), choices=list(MODES))
    p.add_argument("--sign", default="plus")
    p.add_argument("--edges", nargs="+", default=["top:3"])
    p.add_argument("--refits", type=int, default=100)
    args = p.parse_args()
    print("size     mode     sign   edges         axis  τ     FDP    power  stable  false  q       V general")
    for size in args.sizes:
        n, m = map(int, size.split("x"))
        for mode in args.modes:
            for edges in args.edges:
                runs = [judge(n, m, seed, mode, args.sign, edges, args.refits) for seed in range(args.seeds)]
                for axis, d in enumerate((n, m)):
                    q = np.mean([r[2][axis] for r in runs])
                    for tau in THRESHOLDS:
                        rows = []
                        for found, truth, *_ in runs:
                            stable = found[axis] >= tau - 1e-9
                            wrong = (stable & ~truth[axis]).sum()
                            rows.append((wrong / max(stable.sum(), 1), (stable & truth[axis]).sum() / truth[axis].sum(), stable.sum(), wrong))
                        fdp, power, count, wrong = np.mean(rows, 0)
                        bound = q * q / (d * (d - 1) / 2) / (2 * tau - 1) if tau > 0.5 else np.inf
                        print(f"{size:8} {mode:8} {args.sign:6} {edges:13} {'obs' if axis == 0 else 'var':5} {tau:4}  {fdp:.3f}  {power:.3f}"
                              f"  {count:6.1f}  {wrong:5.2f}  {q:6.1f}  {bound:7.2f}", flush=True)
                print(f"{size:8} {mode:8} {edges}: {np.mean([r[3] for r in runs]):.2f} s CPU, {np.mean([r[4] for r in runs]):.2f} s wall "
                      f"for {args.refits} refits of each network, means over {args.seeds} seeds", flush=True)


if __name__ == "__main__":
    main()
