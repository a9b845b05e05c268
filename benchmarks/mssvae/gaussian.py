#!/usr/bin/env python3
"""MSSVAE on the Gaussian simulation: scores of every seed, their distribution, seconds and peak memory of each fit.

    cargo build --release -p unbraid --example mssvae_gaussian
    python benchmarks/mssvae/gaussian.py --seeds 0-29 --out mssvae-gaussian.csv
    python benchmarks/mssvae/gaussian.py --seeds 0-29 --set preset=paper --out mssvae-gaussian.csv

Each seed is a process of its own with one thread, --jobs of them at a time, and is the seed of the data and of the fit. Rows are
appended to --out as fits end, under the name of the settings; seeds that the file has are not run again.
"""
import argparse, csv, os, statistics, subprocess, time
from pathlib import Path

SCORES = ["shared_consensus", "specific_consensus", "disentanglement"]


def start(args, seed):
    command = [args.example, str(seed), str(seed + 1), *args.set]
    environment = os.environ | {"RAYON_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def finish(process):
    """Its row, with the peak memory that the system counted for the process."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    header, row = process.stdout.read().split()
    if process.returncode:
        raise SystemExit(f"a fit ended with {process.returncode}")
    return dict(zip(header.split(","), row.split(","))) | {"peak_mb": f"{usage.ru_maxrss / 1024:.0f}"}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--example", default="target/release/examples/mssvae_gaussian")
    p.add_argument("--seeds", default="0-29")
    p.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    p.add_argument("--jobs", type=int, default=2)
    p.add_argument("--out", type=Path, default=Path("mssvae-gaussian.csv"))
    args = p.parse_args()
    first, last = (int(s) for s in args.seeds.split("-"))
    name = " ".join(args.set) or "default"
    rows = list(csv.DictReader(args.out.open())) if args.out.exists() else []
    done = {int(r["seed"]) for r in rows if r["variant"] == name}
    todo, running = [s for s in range(first, last + 1) if s not in done], []
    while todo or running:
        while todo and len(running) < args.jobs:
            running.append(start(args, todo.pop(0)))
        ended = [p for p in running if os.waitid(os.P_PID, p.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)]
        for process in ended:
            running.remove(process)
            rows.append({"variant": name} | finish(process))
            with args.out.open("w", newline="") as file:
                writer = csv.DictWriter(file, fieldnames=list(rows[-1]), restval="")
                writer.writeheader()
                writer.writerows(rows)
        time.sleep(0.2)
    for variant in dict.fromkeys(r["variant"] for r in rows):
        of = [r for r in rows if r["variant"] == variant]
        print(f"{variant}: {len(of)} seeds")
        for score in SCORES:
            values = sorted(float(r[score]) for r in of)
            quartiles = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
            low = [r["seed"] for r in of if float(r[score]) < 0.8]
            print(f"  {score:18} mean {statistics.mean(values):.3f}  least {values[0]:.3f}  quartiles "
                  f"{quartiles[0]:.3f} {quartiles[1]:.3f} {quartiles[2]:.3f}  below 0.8: {', '.join(low) or 'none'}")


main()
