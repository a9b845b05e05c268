"""Writes pearson.json: scanpy's choice of genes by Pearson residuals on real counts, and the variances of the formula.

Usage: python pearson.py SHARED, the folder whose data/multi-study holds the files. Values of scanpy come from its
mixed precision, those called `formula` from NumPy in double precision.
"""
import json
import pathlib
import sys
import warnings

import anndata as ad
import numpy as np
import scanpy as sc

warnings.simplefilter("ignore")
TOP = 200


def formula(x):
    x = np.asarray(x.todense() if hasattr(x, "todense") else x, float)
    n = len(x)
    mu = np.outer(x.sum(1), x.sum(0)) / x.sum()
    with np.errstate(invalid="ignore"):
        r = np.clip(np.nan_to_num((x - mu) / np.sqrt(mu + mu**2 / 100)), -np.sqrt(n), np.sqrt(n))
    return r.var(0)


def case(path, name):
    a = ad.read_h5ad(path / f"{name}.h5ad")
    sc.experimental.pp.highly_variable_genes(a, n_top_genes=TOP, theta=100)
    chosen = np.flatnonzero(a.var["highly_variable"].to_numpy())
    return {"file": f"{name}.h5ad", "chosen": a.var_names[chosen].tolist(),
            "scanpy": a.var["residual_variances"].to_numpy(float)[chosen].tolist(),
            "formula": formula(a.X)[chosen].tolist()}


folder = pathlib.Path(sys.argv[1]) / "data" / "multi-study"
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps({
    "origin": f"scanpy {sc.__version__}, experimental.pp.highly_variable_genes(n_top_genes={TOP}, theta=100)",
    "top": TOP, "cases": [case(folder, n) for n in ("cellbench_lines_5studies", "kang_pbmc_ctrl_stim_2000")]}))
