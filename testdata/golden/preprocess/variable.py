"""Writes variable.json: scanpy's choice of variable genes on a small count table.

Run with scanpy 1.11 and NumPy 2.4: python variable.py
"""
import json
import numpy as np, anndata as ad, scanpy as sc

rng = np.random.default_rng(3)
n, m, top = 40, 150, 60
mean = rng.gamma(0.6, 4.0, size=m) + 0.05
x = rng.poisson(rng.gamma(1.0, 1.0, size=(n, m)) * mean).astype(float)
a = ad.AnnData(np.log1p(x))
sc.pp.highly_variable_genes(a, n_top_genes=top, flavor="seurat")
variable = np.flatnonzero(a.var["highly_variable"].to_numpy())
seen = (x > 0).sum(0)
best, chosen = np.inf, None
for p in np.arange(0, 101):
    kept = [int(j) for j in variable if 100 * seen[j] > p * n]
    if abs(len(kept) - n) < best:
        best, chosen = abs(len(kept) - n), kept
json.dump({"origin": f"scanpy {sc.__version__}, highly_variable_genes(flavor='seurat', n_top_genes={top})",
           "counts": x.astype(int).tolist(), "top": top, "variable": variable.tolist(), "square": chosen},
          open("variable.json", "w"))
