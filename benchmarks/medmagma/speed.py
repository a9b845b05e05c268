"""MED-MAGMA against its authors' package, in turn, on the same input.

Both run EM to an absolute change of 1e-7. Ours runs twice: sweep by sweep as the package (`preset=paper`)
and to the same fixed point with accelerated sweeps (`accelerate=true`).
"""
import argparse
import os
import sys
import time

import numpy as np

import design
import program


def relative(ours, theirs):
    return max(np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in zip(ours, theirs))


def floor(n, m):
    """Seconds of one EM sweep at the measured product rate: two eigendecompositions (9 d^3 flops each), two
    recompositions and one Gram matrix a side (d^2 products, half of each by symmetry), two products for W."""
    k = max(n, m)
    a = np.random.default_rng(0).normal(size=(k, k))
    a @ a
    begun = time.perf_counter()
    for _ in range(5):
        a @ a
    rate = 10 * k**3 / (time.perf_counter() - begun)
    flops = 9 * (n**3 + m**3) + 2 * (n**3 + m**3) + n * m * (n + m) + 2 * n * m * (n + m)
    return flops / rate, rate


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--reference", required=True, help="folder of the unpacked wheel")
    p.add_argument("--sizes", nargs="+", default=["100x150", "200x200", "500x500", "1000x1000"])
    p.add_argument("--repeats", type=int, default=3, help="runs of ours; the median counts")
    args = p.parse_args()
    sys.path.insert(0, args.reference)
    from MED_MAGMA import EM_algorithm, quotient

    print("size       package s  ours s (sweeps)  ratio  accelerated s (sweeps)  ratio  "
          "rel. diff. of Psi  floor of a sweep s  sweep s  GF/s")
    for size in args.sizes:
        n, m = map(int, size.split("x"))
        x, _, _ = design.sample(n, m, seed=0)
        np.random.seed(1)
        begun = time.perf_counter()
        theirs, magnitudes = EM_algorithm(quotient(x), max_iter=100, stop_tol=1e-7)
        package = time.perf_counter() - begun
        rows = []
        for accelerate in ("false", "true"):
            runs = [program.fit("medmagma", x, "preset=paper", f"accelerate={accelerate}") for _ in range(args.repeats)]
            runs.sort(key=lambda r: r[2]["seconds"])
            r = runs[len(runs) // 2]
            rows.append((r[2]["seconds"], r[2]["sweeps"], relative(r[:2], theirs)))
        least, rate = floor(n, m)
        (plain, sweeps, diff), (fast, fewer, fdiff) = rows
        print(f"{size:10} {package:9.2f}  {plain:7.3f} ({sweeps:2})    {package / plain:6.1f}  {fast:7.3f} ({fewer:2})"
              f"          {package / fast:6.1f}  {diff:.1e} {fdiff:.1e}  {least:.4f}  {fast / fewer:.4f}  {rate / 1e9:.0f}",
              flush=True)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    main()
