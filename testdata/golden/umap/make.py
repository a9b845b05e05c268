"""Golden values of UMAP and of trustworthiness: python make.py > pictures.json (umap-learn, scikit-learn)."""
import json
import sys

import numpy as np
import sklearn
import umap
from sklearn.manifold import trustworthiness
from umap.umap_ import find_ab_params, fuzzy_simplicial_set

rng = np.random.default_rng(3)
graphs = []
for name, n, d, k, copies in [("plain", 40, 4, 6, 0), ("equal points", 30, 3, 5, 9), ("two groups", 36, 2, 4, 0)]:
    x = rng.normal(size=(n, d))
    if name == "two groups":
        x[: n // 2] += 50
    x[:copies] = x[0]
    x = np.round(x, 6)
    # Of points at one distance the first come first, and a point is its own first neighbour.
    d2 = ((x[:, None] - x[None]) ** 2).sum(2)
    np.fill_diagonal(d2, -1)
    order = np.argsort(d2, axis=1, kind="stable")[:, :k]
    dist = np.sqrt(np.maximum(np.take_along_axis(d2, order, 1), 0))
    graph = fuzzy_simplicial_set(x, k, np.random.RandomState(0), "euclidean", knn_indices=order, knn_dists=dist.astype(np.float32))[0].tocoo()
    entries = sorted((int(i), int(j), float(v)) for i, j, v in zip(graph.row, graph.col, graph.data) if v > 0)
    graphs.append({"name": name, "points": x.tolist(), "neighbors": k, "entries": entries})

curves = []
for min_dist, spread in [(0.1, 1.0), (0.0, 1.0), (0.5, 1.0), (0.25, 2.0), (0.8, 0.8)]:
    a, b = find_ab_params(spread, min_dist)
    curves.append({"min_dist": min_dist, "spread": spread, "a": float(a), "b": float(b)})

trust = []
for n, d, k in [(30, 5, 3), (60, 3, 12)]:
    x, y = np.round(rng.normal(size=(n, d)), 6), np.round(rng.normal(size=(n, 2)), 6)
    for y in (y, x[:, :2] + 0.1 * y):
        y = np.round(y, 6)
        trust.append({"points": x.tolist(), "picture": y.tolist(), "k": k, "value": float(trustworthiness(x, y, n_neighbors=k))})

json.dump({"origin": f"umap-learn {umap.__version__}, scikit-learn {sklearn.__version__}, NumPy {np.__version__} (make.py); graphs in single precision",
           "graphs": graphs, "curves": curves, "trustworthiness": trust}, sys.stdout)
