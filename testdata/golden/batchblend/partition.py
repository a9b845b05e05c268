"""log Z, E[z] and Cov(z) of exp(-eta'z) on the simplex, to 50 digits, by confluent divided differences of the exponential.

    python partition.py            # writes partition/case.npz and partition/origin.json; needs mpmath and NumPy

Z(eta) = (-1)^(K-1) f[eta_1, ..., eta_K] with f(t) = exp(-t). Nodes in rising order; equal ones take derivatives, so that ties need no
care; near ties cost digits, of which 500 are kept. Checked here: the same with 700 digits has the same 50.
"""
import json
from pathlib import Path

import numpy as np
from mpmath import mp, mpf, exp, factorial, log


def z(nodes):
    nodes = sorted(nodes)
    n = len(nodes)
    # table[i] = f[nodes_i, ..., nodes_{i+order}]
    table = [exp(-t) for t in nodes]
    for order in range(1, n):
        for i in range(n - order):
            gap = nodes[i + order] - nodes[i]
            if gap == 0:
                table[i] = (-1) ** order * exp(-nodes[i]) / factorial(order)
            else:
                table[i] = (table[i + 1] - table[i]) / gap
    return (-1) ** (n - 1) * table[0]


def moments(eta, digits):
    mp.dps = digits
    eta = [mpf(float(e)) for e in eta]
    k = len(eta)
    whole = z(eta)
    mean = [z(eta + [e]) / whole for e in eta]
    cov = [[mpf(0)] * k for _ in range(k)]
    for i in range(k):
        for j in range(i + 1):
            both = (2 if i == j else 1) * z(eta + [eta[i], eta[j]]) / whole
            cov[i][j] = cov[j][i] = both - mean[i] * mean[j]
    return log(whole), mean, cov


rng = np.random.default_rng(6)
arrays, number = {}, 0
for k in (2, 3, 5, 8, 11, 15, 20, 30):
    for scale in (0.01, 1.0, 10.0, 50.0):
        eta = scale * rng.standard_normal(k)
        kind = number % 4
        if kind == 1:
            eta[1] = eta[0]  # a tie
        if kind == 2:
            eta[-1] = eta[0] * (1 + 1e-9)  # a near tie
        if kind == 3 and k > 3:
            eta[1 : k // 2] = eta[0]  # half of them tied
        logz, mean, cov = moments(eta, 500)
        if k <= 8:
            again, _, other = moments(eta, 700)
            mp.dps = 60
            assert abs(again - logz) < mpf(10) ** -50 and abs(other[0][0] - cov[0][0]) < mpf(10) ** -50
        name = f"{number:02d}"
        arrays["eta_" + name] = eta
        arrays["logz_" + name] = np.array(float(logz))
        arrays["mean_" + name] = np.array([float(m) for m in mean])
        arrays["cov_" + name] = np.array([[float(c) for c in row] for row in cov])
        number += 1
arrays["eta_%02d" % number] = np.zeros(12)
logz, mean, cov = moments(np.zeros(12), 100)
arrays["logz_%02d" % number] = np.array(float(logz))
arrays["mean_%02d" % number] = np.array([float(m) for m in mean])
arrays["cov_%02d" % number] = np.array([[float(c) for c in row] for row in cov])
here = Path(__file__).parent / "partition"
here.mkdir(exist_ok=True)
np.savez_compressed(here / "case.npz", **arrays)
import mpmath

origin = {"origin": "confluent divided differences in mpmath, 500 digits (partition.py)", "mpmath": mpmath.__version__, "numpy": np.__version__, "cases": number + 1}
(here / "origin.json").write_text(json.dumps(origin, indent=1) + "\n")
