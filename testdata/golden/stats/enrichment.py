"""Writes enrichment.json beside this file: over-representation by SciPy and statsmodels.

Needs numpy, scipy, statsmodels; versions are stored in it. The rules are those of section 10 of the platelet study's
analysis: the universe is the tested genes that are in any set, sets of 10 to 500 genes of the universe are tested, and
p-values are adjusted over the sets that share a gene with the list.
"""

import json
import pathlib

import numpy as np
import scipy
import statsmodels
from scipy.stats import hypergeom
from statsmodels.stats.multitest import multipletests

HERE = pathlib.Path(__file__).parent
rng = np.random.default_rng(20260127)

genes = [f"g{i}" for i in range(600)]  # of which the last hundred are in no set
sets = {f"set{s}": sorted(rng.choice(500, rng.integers(4, 60), replace=False).tolist()) for s in range(60)}
sets["all"] = list(range(500))
sets["elsewhere"] = [f"h{i}" for i in range(30)]
named = {name: [m if isinstance(m, str) else genes[m] for m in members] for name, members in sets.items()}
lists = [sorted(rng.choice(600, n, replace=False).tolist()) for n in (5, 40, 200)]
lists.append(sorted(set(sets["set3"]) | set(rng.choice(600, 10, replace=False).tolist())))


def expected(chosen, annotated_only):
    universe = set(genes)
    if annotated_only:
        universe &= set().union(*named.values())
    drawn = {genes[i] for i in chosen} & universe
    rows = []
    for name, members in named.items():
        inside = set(members) & universe
        if 10 <= len(inside) <= 500:
            k = len(drawn & inside)
            p = float(hypergeom.sf(k - 1, len(universe), len(inside), len(drawn)))
            fold = k / len(drawn) / (len(inside) / len(universe))
            rows.append({"set": name, "size": len(inside), "overlap": k, "p": p, "fold": fold, "by": 1.0})
    tested = [r for r in rows if r["overlap"] > 0]
    for r, q in zip(tested, multipletests([r["p"] for r in tested], method="fdr_by")[1]):
        r["by"] = float(q)
    return {"list": [genes[i] for i in chosen], "annotated_only": annotated_only, "rows": rows}


(HERE / "enrichment.json").write_text(json.dumps({
    "origin": {"script": "enrichment.py", "versions": {
        "numpy": np.__version__, "scipy": scipy.__version__, "statsmodels": statsmodels.__version__}},
    "genes": genes, "sets": [[name, members] for name, members in named.items()],
    "cases": [expected(chosen, only) for chosen in lists for only in (True, False)]}))
