"""Do gene networks join genes of common function? Edges and modules against Gene Ontology sets.

    python benchmarks/medmagma/genes.py --shared DIR [--genes auto|appendix-f] [--methods default factors full paper]

DIR holds `scrna-labelled`, `medmagma_real` and `gene-sets`. For each set of cells and method prints one JSON line:
`fold` = share of the edges (both ends annotated) whose ends share a set, over the share of all such pairs;
`modules` = Leiden modules (resolution 1, five genes or more) with a set at a Benjamini-Hochberg rate of 5 %;
then the geometric mean of `fold` and the share of modules over the sets of cells.
"""
import argparse
import gzip
import json
import pathlib
import random
import subprocess
import tempfile

import anndata
import igraph
import numpy as np
import scipy.sparse as sp
from scipy.stats import hypergeom

PROGRAM = pathlib.Path(__file__).resolve().parents[2] / "target" / "release" / "unbraid"
HUMAN = ["scrna-labelled/pollen_brain_lines_299", "scrna-labelled/ipsc_cardiomyocyte_time_315",
         "scrna-labelled/zheng_pbmc_500", "medmagma_real/yan2013_embryo_90x20214", "medmagma_real/pbmc68k_reduced_700x765"]
MOUSE = ["scrna-labelled/islam_es_mef_92", "scrna-labelled/deng_embryo_133", "scrna-labelled/usoskin_neurons_150",
         "scrna-labelled/ginhoux_dendritic_245", "scrna-labelled/treutlein_lung_80", "scrna-labelled/zeisel_cortex_1464"]
METHODS = {
    "default": [],
    "factors": ["features=factors"],
    "full": ["rank=full", "max_steps=12", "accelerate=true"],
    "paper": ["preset=paper", "max_steps=20"],
}


def gene_sets(path):
    with gzip.open(path, "rt") as lines:
        return [{gene.upper() for gene in line.rstrip("\n").split("\t")[2:]} for line in lines]


def knn(x, k=10):
    """The neighbour graph of genes by correlation, the plain alternative."""
    r = np.nan_to_num(np.corrcoef(x.T))
    np.fill_diagonal(r, -2)
    best = np.argpartition(-r, k, axis=1)[:, :k]
    a = np.zeros(r.shape, bool)
    a[np.arange(len(r))[:, None], best] = True
    return a | a.T


def score(a, names, sets):
    at = {name: i for i, name in enumerate(names)}
    members = [{at[gene] for gene in s if gene in at} for s in sets]
    members = [m for m in members if len(m) >= 5]
    n = len(names)
    belongs = np.zeros((n, len(members)))
    for j, m in enumerate(members):
        belongs[list(m), j] = 1
    share = (belongs @ belongs.T) > 0
    known = belongs.any(1)
    both = np.outer(known, known)
    np.fill_diagonal(both, False)
    fold = share[a & both].mean() / share[both].mean()
    random.seed(0)
    graph = igraph.Graph(n=n, edges=np.argwhere(np.triu(a, 1)).tolist())
    labels = np.array(graph.community_leiden(objective_function="modularity", resolution=1.0, n_iterations=2).membership)
    p, of = [], []
    for c in np.unique(labels):
        module = set(np.flatnonzero(labels == c))
        if len(module) >= 5:
            for m in members:
                p.append(hypergeom.sf(len(module & m) - 1, n, len(m), len(module)))
                of.append(c)
    p, of = np.array(p), np.array(of)
    order = np.argsort(p)
    rate = np.minimum.accumulate((p[order] * len(p) / np.arange(1, len(p) + 1))[::-1])[::-1]
    return fold, len(set(of[order[rate < 0.05]])), len(set(of))


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--shared", type=pathlib.Path, required=True)
    options.add_argument("--genes", default="auto")
    options.add_argument("--methods", nargs="+", default=["default", "factors"])
    options = options.parse_args()
    sets = {"human": gene_sets(options.shared / "gene-sets/go_bp_human_15to120.gmt.gz"),
            "mouse": gene_sets(options.shared / "gene-sets/go_bp_mouse_15to120.gmt.gz")}
    rows = {}
    for name in HUMAN + MOUSE:
        path = options.shared / f"{name}.h5ad"
        plain = None
        for method in options.methods + ["correlation"]:
            if method == "correlation":
                a, names = plain
            else:
                with tempfile.TemporaryDirectory() as folder:
                    command = [PROGRAM, "fit", "medmagma", path, "-o", f"{folder}/fit.h5ad", "--quiet"]
                    command += ["--layer", "raw"] if "pbmc68k" in name else []
                    for setting in [*METHODS[method], f"genes={options.genes}", "empty=drop"]:
                        command += ["--set", setting]
                    subprocess.run(command, check=True, capture_output=True)
                    fitted = anndata.read_h5ad(f"{folder}/fit.h5ad")
                source = fitted.raw if "pbmc68k" in name else fitted
                used = fitted.var["medmagma_used"].to_numpy(bool) if "medmagma_used" in fitted.var else slice(None)
                names = np.array([str(gene).upper() for gene in source.var_names])[used]
                a = fitted.varp["medmagma_connectivities"].toarray()[used][:, used] > 0
                if plain is None:
                    x = sp.csr_matrix(source.X).astype(float)
                    x = sp.diags(1e4 / np.maximum(np.asarray(x.sum(1)).ravel(), 1e-9)) @ x
                    plain = knn(np.log1p(x[:, np.flatnonzero(used) if not isinstance(used, slice) else used].toarray())), names
            fold, enriched, modules = score(a, names, sets["human" if name in HUMAN else "mouse"])
            rows.setdefault(method, []).append((fold, enriched / max(modules, 1)))
            print(json.dumps({"set": name.split("/")[1], "method": method, "genes": len(names),
                              "fold": round(float(fold), 3), "modules": f"{enriched}/{modules}"}), flush=True)
    for method, values in rows.items():
        values = np.array(values)
        print(json.dumps({"method": method, "geometric_mean_fold": round(float(np.exp(np.log(values[:, 0]).mean())), 3),
                          "mean_share_of_modules": round(float(values[:, 1].mean()), 3)}))


if __name__ == "__main__":
    main()
