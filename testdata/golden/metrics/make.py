"""Writes metrics.json and leiden.json beside this file.

Needs numpy, scikit-learn, igraph and leidenalg; the versions used are stored in the files.
"""

import json
import pathlib
import random

import igraph
import leidenalg
import numpy as np
import sklearn
from sklearn import metrics

HERE = pathlib.Path(__file__).parent
rng = np.random.default_rng(20240501)


def balanced(first, second):
    """Rows of the contingency table scaled to the rounded mean class size, rounded, and expanded."""
    table = metrics.cluster.contingency_matrix(first, second).astype(float)
    target = round(table.sum(1).mean())
    table = np.round(table / (table.sum(1) / target)[:, None]).astype(int)
    at = [(i, j) for i in range(table.shape[0]) for j in range(table.shape[1]) for _ in range(table[i, j])]
    return [a for a, _ in at], [b for _, b in at]


def clustering(first, second):
    b = balanced(first, second)
    return {
        "first": np.asarray(first).tolist(),
        "second": np.asarray(second).tolist(),
        "ami": metrics.adjusted_mutual_info_score(first, second),
        "nmi": metrics.normalized_mutual_info_score(first, second),
        "ari": metrics.adjusted_rand_score(first, second),
        "balanced_ami": metrics.adjusted_mutual_info_score(*b),
        "balanced_ari": metrics.adjusted_rand_score(*b),
    }


def noisy(n, k, share):
    first = rng.choice(k, n, p=rng.dirichlet(np.ones(k)))
    second = np.where(rng.random(n) < share, rng.integers(0, k + 2, n), first)
    return clustering(first, second)


def ranking(n, digits):
    truth = rng.random(n) < 0.15
    scores = np.round(rng.normal(size=n) + truth, digits)
    precision, recall, thresholds = metrics.precision_recall_curve(truth, scores)
    return {
        "truth": truth.tolist(),
        "scores": scores.tolist(),
        "precision": precision.tolist(),
        "recall": recall.tolist(),
        "thresholds": thresholds.tolist(),
        "aupr": metrics.auc(recall, precision),
        "average_precision": metrics.average_precision_score(truth, scores),
    }


def assortativity(n, p, k, directed):
    a = (rng.random((n, n)) < p).astype(int)
    if not directed:
        a = np.maximum(np.tril(a, -1), np.tril(a, -1).T)
    codes = rng.integers(0, k, n)
    g = igraph.Graph.Adjacency(a.tolist(), mode="directed")
    return {
        "n": n,
        "arcs": np.argwhere(a).tolist(),
        "codes": codes.tolist(),
        "nominal": g.assortativity_nominal(codes.tolist(), directed=True),
        "numeric": g.assortativity(codes.tolist(), directed=True),
    }


def communities(name, g):
    """Best modularity of both references over ten seeds, at three resolutions."""
    weights = [float(w) for w in rng.random(g.ecount()) + 0.1]
    found = []
    for resolution in [0.5, 1.0, 2.0]:
        best = {}
        for seed in range(10):
            part = leidenalg.find_partition(
                g, leidenalg.RBConfigurationVertexPartition, weights=weights,
                resolution_parameter=resolution, seed=seed, n_iterations=10)
            q = part.quality() / (2 * sum(weights))
            best["leidenalg"] = max(best.get("leidenalg", -1), q)
            part = g.community_leiden("modularity", weights=weights, resolution=resolution, n_iterations=10)
            q = g.modularity(part.membership, weights=weights, resolution=resolution)
            best["igraph"] = max(best.get("igraph", -1), q)
        labels = part.membership
        found.append({"resolution": resolution, **best, "labels": labels, "quality_of_labels": q})
    return {"name": name, "n": g.vcount(), "edges": g.get_edgelist(), "weights": weights, "partitions": found}


versions = {"scikit-learn": sklearn.__version__, "igraph": igraph.__version__, "leidenalg": leidenalg.version,
            "numpy": np.__version__}
(HERE / "metrics.json").write_text(json.dumps({
    "origin": {"script": "make.py", "versions": versions},
    "clustering": [noisy(60, 4, 0.3), noisy(200, 8, 0.7), noisy(150, 3, 1.0), noisy(1000, 5, 0.1),
                   clustering([0, 0, 1, 1], [0, 1, 0, 1]), clustering([0, 1, 2, 3], [0, 0, 1, 1])],
    "ranking": [ranking(40, 6), ranking(120, 1), ranking(300, 0)],
    "assortativity": [assortativity(30, 0.1, 3, False), assortativity(40, 0.2, 5, False),
                      assortativity(25, 0.15, 4, True)],
}))

igraph.set_random_number_generator(random.Random(1))
planted = igraph.Graph.SBM([[0.25 if i == j else 0.02 for j in range(5)] for i in range(5)], [40, 30, 20, 20, 10])
(HERE / "leiden.json").write_text(json.dumps({
    "origin": {"script": "make.py", "versions": versions},
    "graphs": [communities("karate club (Zachary 1977)", igraph.Graph.Famous("Zachary")),
               communities("planted blocks", planted),
               communities("preferential attachment, 3 edges", igraph.Graph.Barabasi(150, 3)),
               communities("uniform random", igraph.Graph.Erdos_Renyi(100, p=0.06))],
}))
