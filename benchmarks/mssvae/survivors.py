#!/usr/bin/env python3
"""Shared factors that a fit of the Gaussian simulation left in columns of single studies, and all blocks that it missed.

    unbraid reproduce mssvae -o reproduced --only gaussian --set methods=mssvae,paper:6
    python benchmarks/mssvae/survivors.py reproduced/runs [--least 0.5]

Reads W before anything was merged or dropped. A true block is *in* a column where the Jaccard index of the column with it is at least
--least. A shared block that is in no shared column, but in own columns of some studies, is a survivor: of one study or two, which
merging cannot see, or of all three, which it repairs. A block that is in no column at all is listed with the columns it is most like.
"""
import argparse, json
from pathlib import Path

STUDIES, SHARED, OWN = 3, 8, 2


def truth():
    """Owner and features of each factor, as the simulation lays them out (100 features)."""
    blocks = [(None, range(9 * k, 9 * k + 12)) for k in range(SHARED)]
    starts = range(73, 73 + 4 * STUDIES * OWN, 4)
    blocks += [(q // OWN, range(s, 100 if q == STUDIES * OWN - 1 else s + 6)) for q, s in enumerate(starts)]
    return [(owner, set(features)) for owner, features in blocks]


def likeness(a, b):
    return len(a & b) / max(1, len(a | b))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("runs", type=Path)
    p.add_argument("--least", type=float, default=0.5)
    args = p.parse_args()
    files = sorted(args.runs.glob("gaussian-*.json"), key=lambda f: (f.stem.split("-")[1], int(f.stem.split("-")[2])))
    counts = {}
    for file in files:
        method, seed = file.stem.split("-")[1:]
        columns = [(c["owner"], {j for j, _ in c["members"]}) for c in json.loads(file.read_text())["raw"]]
        columns = [c for c in columns if c[1]]
        if not columns:
            continue
        tally = counts.setdefault(method, {"fits": 0, "of one": 0, "of two": 0, "of three": 0, "missed": 0})
        tally["fits"] += 1
        for owner, block in truth():
            inside = [who for who, features in columns if likeness(block, features) >= args.least]
            name = f"{min(block)}-{max(block)}"
            if owner is None and None not in inside and inside:
                studies = sorted(set(inside))
                tally["of " + ("one", "two", "three")[len(studies) - 1]] += 1
                print(f"{method} seed {seed}: shared block {name} is in columns of studies {studies} only")
            elif owner not in inside:
                tally["missed"] += 1
                whose = "shared" if owner is None else f"study {owner}'s"
                near = sorted(((likeness(block, f), who, f) for who, f in columns if who in (None, owner)), key=lambda t: -t[0])[:2]
                like = "; ".join(f"{'shared' if who is None else f'study {who}'} {sorted(f)} ({value:.2f})" for value, who, f in near)
                print(f"{method} seed {seed}: {whose} block {name} is in no column; most like it: {like}")
    for method, tally in counts.items():
        print(f"{method}: " + ", ".join(f"{name} {n}" for name, n in tally.items()))


main()
