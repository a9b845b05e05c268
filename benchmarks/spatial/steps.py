#!/usr/bin/env python3
"""Seconds of an iteration of `popari` and of the popari package on the same simulated slices, one after the other.

    python benchmarks/spatial/steps.py [--side 71 --features 250 --k 15] [--alone 2 --tissue 1] [--programs unbraid popari] [--threads 2]

Two slices of side x side cells, four neighbours on the grid, both programs from their svd start. Ours: `preset=paper` with 2 iterations of each kind, and
with 200 or 20 more of one, the difference over them. The package: its mean over --alone iterations without neighbours and --tissue in the tissue. Wall
seconds, and processor seconds in brackets: a machine with other work lengthens the former.
Needs NumPy, SciPy, anndata, scikit-learn, torch, popari 1.3.4.
"""
import argparse, json, os, resource, subprocess, tempfile, time
from pathlib import Path

from msrt import package, step


def ours(program, path, folder, k, threads, alone, tissue):
    settings = {"preset": "paper", "k": k, "graph": "grid", "nmf_steps": alone, "max_steps": tissue}
    sets = sum((["--set", f"{key}={value}"] for key, value in settings.items()), [])
    run = [program, "fit", "popari", path, "-o", Path(folder) / "fit.h5ad", "--threads", str(threads), "--json", "--quiet", *sets]
    used = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    before = used()
    said = json.loads(subprocess.run(run, check=True, capture_output=True).stdout)
    return said["seconds"], used() - before


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="target/release/unbraid")
    parser.add_argument("--side", type=int, default=71)
    parser.add_argument("--features", type=int, default=250)
    parser.add_argument("--k", type=int, default=15)
    parser.add_argument("--alone", type=int, default=2)
    parser.add_argument("--tissue", type=int, default=1)
    parser.add_argument("--programs", nargs="*", default=["unbraid", "popari"])
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slices.h5ad"
        draw = [args.program, "simulate", "msrt", "-o", path, "--seed", "1", "--set", f"side={args.side}", "--set", f"features={args.features}"]
        subprocess.run(draw, check=True, capture_output=True)
        print(f"2 x {args.side**2} cells x {args.features} genes, K = {args.k}; load {os.getloadavg()[0]:.1f}", flush=True)
        if "unbraid" in args.programs:
            at = {point: ours(args.program, path, folder, args.k, args.threads, *point) for point in [(2, 2), (202, 2), (2, 22)]}
            for name, point, more in [("alone", (202, 2), 200), ("tissue", (2, 22), 20)]:
                wall, cpu = ((a - b) / more for a, b in zip(at[point], at[2, 2]))
                print(f"unbraid  {name:6} {wall:8.3f} s ({cpu:.3f}) an iteration", flush=True)
        if "popari" not in args.programs:
            return
        model, _, _ = package(path, args.k)
        for name, count in [("alone", args.alone), ("tissue", args.tissue)]:
            for _ in range(count):
                before = time.process_time()
                wall = step(model, name == "tissue")
                print(f"popari   {name:6} {wall:8.3f} s ({time.process_time() - before:.3f}) an iteration; load {os.getloadavg()[0]:.1f}", flush=True)


main()
