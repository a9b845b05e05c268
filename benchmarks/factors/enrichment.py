"""Gene sets and explained shares of stored factors, recomputed by SciPy, statsmodels and NumPy from the same file.

    python benchmarks/factors/enrichment.py FIT.h5ad --gmt SETS.gmt [--gmt ...] [--var symbols.tsv] [--key nmf]
        [--scale max] [--threshold 0.15] [--label COLUMN ...]

Runs `unbraid enrich --csv --json` and prints the largest differences: of p relative to it, of adjusted p and of the
shares of variance absolutely.
"""

import argparse
import csv
import gzip
import json
import pathlib
import subprocess
import tempfile

import anndata as ad
import numpy as np
from scipy.stats import hypergeom
from statsmodels.stats.multitest import multipletests

ROOT = pathlib.Path(__file__).resolve().parents[2]


def gene_sets(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rt") as lines:
        for line in lines:
            name, _, *genes = line.rstrip("\n").split("\t")
            yield name, {g for g in genes if g}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("fit")
    p.add_argument("--gmt", action="append", required=True)
    p.add_argument("--var")
    p.add_argument("--key", default="mssvae")
    p.add_argument("--scale", default="none")
    p.add_argument("--threshold", type=float, default=0.5)
    p.add_argument("--label", action="append", default=[])
    p.add_argument("--program", default=str(ROOT / "target/release/unbraid"))
    args = p.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        table = pathlib.Path(folder) / "tests.csv"
        line = [args.program, "enrich", args.fit, "--key", args.key, "--csv", str(table), "--json",
                "--set", f"scale={args.scale}", "--set", f"threshold={args.threshold}"]
        line += [w for g in args.gmt for w in ("--gmt", g)] + [w for c in args.label for w in ("--label", c)]
        line += ["--var", args.var] if args.var else []
        found = json.loads(subprocess.run(line, check=True, capture_output=True, text=True).stdout)
        rows = list(csv.DictReader(table.open()))

    data = ad.read_h5ad(args.fit)
    used = data.var.get(f"{args.key}_used", np.ones(data.n_vars, bool)).to_numpy(bool)
    symbol = {}
    if args.var:
        symbol = dict(line.rstrip("\n").split("\t")[:2] for line in open(args.var))
    names = np.array([symbol.get(g, g) for g in data.var_names])[used]
    weights = np.abs(np.asarray(data.varm[f"{args.key}_loadings"]))[used]
    if args.scale == "max":
        weights = weights / weights.max(0)
    sets = dict(pair for path in args.gmt for pair in gene_sets(path))
    universe = set(names) & set().union(*sets.values())

    tests = {}
    for r in rows:
        tests.setdefault(int(r["factor"]) - 1, {})[r["set"]] = r
    of_p = of_by = 0.0
    for k, ours in tests.items():
        drawn = set(names[weights[:, k] > args.threshold]) & universe
        p, at = [], []
        for name, genes in sets.items():
            inside = genes & universe
            if not 10 <= len(inside) <= 500:
                continue
            overlap = len(drawn & inside)
            value = hypergeom.sf(overlap - 1, len(universe), len(inside), len(drawn))
            assert int(ours[name]["overlap"]) == overlap, name
            of_p = max(of_p, abs(float(ours[name]["p"]) - value) / value)
            if overlap:
                p.append(value)
                at.append(name)
        for name, by in zip(at, multipletests(p, method="fdr_by")[1]):
            of_by = max(of_by, abs(float(ours[name]["by"]) - by))
    print(f"{len(rows)} tests of {len(tests)} factors: p within {of_p:.1e} of SciPy's, relative; adjusted p within {of_by:.1e}")

    if args.label:
        rows_used = data.obs.get(f"{args.key}_used", np.ones(data.n_obs, bool))
        keep = np.asarray(rows_used, bool)
        scores = np.asarray(data.obsm[f"X_{args.key}"])[keep]
        worst = 0.0
        for at, label in enumerate(args.label):
            groups = data.obs[label].to_numpy()[keep]
            for k, z in enumerate(scores.T):
                whole = ((z - z.mean()) ** 2).sum()
                if whole == 0:
                    continue
                parts = (z[groups == g] for g in np.unique(groups))
                share = sum(len(v) * (v.mean() - z.mean()) ** 2 for v in parts) / whole
                worst = max(worst, abs(found["explained"]["factors"][k]["shares"][at]["all"] - share))
        print(f"shares of variance within {worst:.1e} of NumPy's")


main()
