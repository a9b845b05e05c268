"""Writes network.json beside this file: degree statistics and variation of information by igraph."""

import json
import pathlib
import random

import igraph
import numpy as np

HERE = pathlib.Path(__file__).parent
rng = np.random.default_rng(20240602)
igraph.set_random_number_generator(random.Random(2))


def degrees(g):
    d = g.degree()
    weights = np.round(rng.normal(size=g.ecount()), 6)
    return {
        "n": g.vcount(), "edges": g.get_edgelist(), "weights": weights.tolist(), "count": g.ecount(),
        "mean": np.mean(d), "median": np.median(d), "max": g.maxdegree(), "isolated": d.count(0),
        "components": len(g.connected_components()), "density": g.density(), "mean_weight": np.abs(weights).mean(),
    }


def partitions(n, k, share):
    first = rng.integers(0, k, n)
    second = np.where(rng.random(n) < share, rng.integers(0, k + 2, n), first)
    return {"first": first.tolist(), "second": second.tolist(),
            "vi": igraph.compare_communities(first.tolist(), second.tolist(), method="vi")}


(HERE / "network.json").write_text(json.dumps({
    "origin": {"script": "network.py", "versions": {"igraph": igraph.__version__, "numpy": np.__version__}},
    "degrees": [degrees(igraph.Graph.Famous("Zachary")), degrees(igraph.Graph.Erdos_Renyi(80, m=60)),
                degrees(igraph.Graph.Barabasi(101, 2))],
    "partitions": [partitions(50, 4, 0.3), partitions(200, 9, 0.8), partitions(30, 2, 0.0)],
}, default=float))
