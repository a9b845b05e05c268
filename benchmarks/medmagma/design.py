"""The paper's synthetic design: trees, Kronecker-sum Gaussian data, chi-square magnitudes."""
import random

import igraph
import numpy as np


def tree_precision(n, sign="plus"):
    """I + D^-1/2 A D^-1/2 / 1.1 of a preferential-attachment tree; `sign` sets the edges' signs."""
    a = np.array(igraph.Graph.Barabasi(n).get_adjacency().data, float)
    d = a.sum(1)
    a = a / np.sqrt(d)[:, None] / np.sqrt(d) / 1.1
    if sign == "minus":
        a = -a
    elif sign == "mixed":
        s = np.tril(np.random.choice([-1.0, 1.0], size=a.shape), -1)
        a = a * (s + s.T)
    return a + np.eye(n)


def sample(n, m, seed, noise=1.0, sign="plus"):
    """X (n x m) with the precision of its rows and of its columns."""
    np.random.seed(seed)
    random.seed(seed)
    rows, cols = tree_precision(n, sign), tree_precision(m, sign)
    a, v = np.linalg.eigh(rows)
    b, w = np.linalg.eigh(cols)
    z = v @ (np.random.normal(size=(n, m)) / np.sqrt(a[:, None] + b)) @ w.T
    r, c = np.random.chisquare(1, (n, 1)) ** noise, np.random.chisquare(1, (1, m)) ** noise
    return r * z * c, rows, cols
