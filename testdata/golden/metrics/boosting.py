"""Writes boosting.json beside this file: importances of scikit-learn's GradientBoostingRegressor().

Needs numpy and scikit-learn; versions are stored in it. scikit-learn visits features in a random order and keeps the
first of equally good splits, so that its importances depend on the seed wherever two features can split a node into
the same two sets: always in a node of two observations with continuous features. `low` and `high` bound the importances
over thirty seeds. Features of few values split without such ties; there `low` and `high` are equal but for rounding.
"""

import json
import pathlib

import numpy as np
import sklearn
from sklearn.ensemble import GradientBoostingRegressor

HERE = pathlib.Path(__file__).parent
rng = np.random.default_rng(20260126)


def case(name, x, targets):
    x = np.asarray(x, np.float32).astype(float)
    out = []
    for y in targets:
        r = np.asarray([GradientBoostingRegressor(random_state=s).fit(x, y).feature_importances_ for s in range(30)])
        print(name, np.ptp(r, axis=0).max())
        out.append({"y": y.tolist(), "low": r.min(0).tolist(), "high": r.max(0).tolist()})
    return {"name": name, "x": x.tolist(), "targets": out}


def continuous(n, k):
    z = rng.normal(size=(n, 3))
    mix = rng.normal(size=(3, k))
    return case("mixtures", z @ mix + 0.3 * rng.normal(size=(n, k)), [z[:, 0], z[:, 1] ** 2, z[:, 0] * z[:, 2]])


def studies(n, own):
    """Columns of one study are 0 in the others, as codes and factors of a multi-study model are."""
    study = np.arange(n) % 3
    z = rng.normal(size=(n, 2 + 3 * own))
    for m in range(3):
        z[np.ix_(study != m, range(2 + m * own, 2 + (m + 1) * own))] = 0
    codes = z + 0.2 * rng.normal(size=z.shape) * (z != 0)
    return case("studies", codes, list(z.T))


def coarse(n, k):
    """Features of five values each, some wide apart and some closer than single precision tells apart."""
    x = rng.integers(0, 5, size=(n, k)) * np.asarray([1.0, 0.1, 30.0, -2.0])[:k]
    x[:, 0] += 1e-8 * rng.integers(0, 2, n)
    noise = 0.3 * rng.normal(size=(3, n))
    return case("coarse", x, [x[:, 0] + np.sin(x[:, 1]) + noise[0], x[:, 0] * x[:, 3] + noise[1], noise[2]])


(HERE / "boosting.json").write_text(json.dumps({
    "origin": {"script": "boosting.py", "versions": {"numpy": np.__version__, "scikit-learn": sklearn.__version__},
               "settings": "GradientBoostingRegressor(random_state=0..29)"},
    "cases": [coarse(600, 4), continuous(400, 6), studies(300, 1)],
}))
