"""How often `unbraid choose-k` finds the number of factors that simulated data were made with.

Two kinds of tables: Poisson counts around U V (n samples, d features, U and V fourth powers of uniform numbers, so that
factors are sparse) for `nmf`, and `unbraid simulate quantile` (160 features, 80 samples, k = 8, an increasing map per
feature) for `qmf`. One line per table: the truth, what is suggested, the k of least held-out loss, seconds.

    python benchmarks/factors/choose_k.py --program target/release/unbraid --seeds 10
"""

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np


def counts(rng, n, d, k, depth):
    mean = rng.random((n, k)) ** 4 @ rng.random((k, d)) ** 4
    return rng.poisson(depth * mean / mean.mean()).astype(float)


def choose(program, method, table, folder, k, more):
    line = [program, "choose-k", method, str(table), "-o", str(folder / "out.h5ad"), "--k", k, "--json", "--quiet", *more]
    begun = time.time()
    ran = subprocess.run(line, capture_output=True, text=True)
    if ran.returncode != 0:
        raise SystemExit(ran.stderr)
    return json.loads(ran.stdout), time.time() - begun


def main():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--program", default="target/release/unbraid")
    parse.add_argument("--seeds", type=int, default=10)
    parse.add_argument("--methods", nargs="+", default=["nmf", "qmf"])
    parse.add_argument("--k", default=None, help="numbers of factors to try")
    parse.add_argument("more", nargs="*", help="further arguments of the program, after --")
    args = parse.parse_args()
    folder = Path(tempfile.mkdtemp())
    print("method\tdata\tseed\ttrue k\tsuggested\tleast loss\tbest dispersion\tseconds")
    for method in args.methods:
        cases = [("counts", k, depth) for k in (3, 5, 8) for depth in (2.0, 10.0)] if method == "nmf" else [("quantile", 8, 0)]
        for data, k, depth in cases:
            hits = least = 0
            for seed in range(args.seeds):
                if data == "counts":
                    table = folder / "x.npy"
                    np.save(table, counts(np.random.default_rng(seed), 100, 150, k, depth))
                else:
                    table = folder / "toy.h5ad"
                    subprocess.run([args.program, "simulate", "quantile", "-o", str(table), "--seed", str(seed)], check=True, capture_output=True)
                found, seconds = choose(args.program, method, table, folder, args.k or "2..12", args.more)
                rows = [r for r in found["table"] if r["dispersion"] is not None]
                top = max(rows, key=lambda r: r["dispersion"])["k"] if rows else None
                hits += found["suggested_k"] == k
                least += found["best_k"] == k
                name = f"{data}, mean {depth:g}" if depth else data
                print(f"{method}\t{name}\t{seed}\t{k}\t{found['suggested_k']}\t{found['best_k']}\t{top}\t{seconds:.1f}", flush=True)
            print(f"# {method}, {data} {depth:g}, k = {k}: suggested {hits} of {args.seeds}, least loss {least} of {args.seeds}", flush=True)


if __name__ == "__main__":
    main()
