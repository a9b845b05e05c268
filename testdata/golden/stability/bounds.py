"""Bounds of stability selection from the formulas of the two papers, by SciPy; prints bounds.json.

The r-concave tail is maximised over the extreme laws f(i) ~ (a + i)^(1/r), i <= k, with the rest on k + 1:
for each k the admissible a lie between the roots at which the truncated laws on 0..k+1 and 0..k have the mean.
"""
import json

import numpy as np
import scipy
from scipy.optimize import brentq, minimize_scalar


def tail(eta, t, b, r):
    mean, s = eta * b, 1 / r
    first = int(np.ceil(2 * mean)) + 1
    if t < first:
        return 1.0
    law = lambda a, k: (a + np.arange(k + 1)) ** s

    def root(k):
        gap = lambda x: (np.arange(k + 1) * law(np.exp(x), k)).sum() / law(np.exp(x), k).sum() - mean
        return brentq(gap, -25, 25, xtol=1e-13, rtol=1e-14)

    def reached(x, k):
        f = law(np.exp(x), k)
        share = (k + 1 - mean) / ((k + 1 - np.arange(k + 1)) * f).sum()  # mass per unit of f
        return share * f[t:].sum() + (1 - share * f.sum() if k + 1 >= t else 0.0)

    best = 0.0
    for k in range(max(first, t - 1), b):
        low, high = root(k + 1), root(k)
        found = minimize_scalar(lambda x: -reached(x, k), bounds=(low, high), method="bounded", options={"xatol": 1e-12})
        best = max(best, -found.fun, reached(low, k), reached(high, k))
    return best


def concave(q, p, tau, b):
    t = int(np.ceil(round(tau * 2 * b, 9)))
    return p * min(tail((q / p) ** 2, t - b, b, -1 / 2), tail(q / p, t, 2 * b, -1 / 4))


def unimodal(q, p, tau, b):
    c = 1 / (2 * (2 * tau - 1 - 1 / (2 * b))) if tau <= 0.75 else 4 * (1 - tau + 1 / (2 * b)) / (1 + 1 / b)
    return c * q * q / p


cases = []
for q, p in [(2, 9), (3, 100), (25, 4950), (100, 4950), (592, 4950), (200, 19900), (600, 19900)]:
    for tau in (0.6, 0.75, 0.8, 0.9, 1.0):
        for b in (10, 50, 100):
            cases.append({"q": q, "p": p, "threshold": tau, "pairs": b, "general": q * q / p / (2 * tau - 1),
                          "unimodal": unimodal(q, p, tau, b), "concave": concave(q, p, tau, b)})
origin = {"script": "testdata/golden/stability/bounds.py", "scipy": scipy.__version__, "numpy": np.__version__,
          "source": "Meinshausen and Bühlmann 2010, theorem 1; Shah and Samworth 2013, theorem 2 and equation (8)"}
print(json.dumps({"origin": origin, "cases": cases}, indent=1, ensure_ascii=False))
