"""Writes stats.json beside this file. Needs numpy, scipy, scikit-learn, mpmath; versions are stored in it."""

import json
import pathlib

import mpmath
import numpy as np
import scipy
import sklearn
from scipy import stats
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

HERE = pathlib.Path(__file__).parent
rng = np.random.default_rng(20240601)
mpmath.mp.dps = 60


def log10_f_tail(f, a, b):
    """log10 P(F >= f) by mpmath, where scipy's p is 0 or denormal."""
    x = mpmath.mpf(b) / (mpmath.mpf(b) + mpmath.mpf(a) * mpmath.mpf(f))
    return float(mpmath.log10(mpmath.betainc(mpmath.mpf(b) / 2, mpmath.mpf(a) / 2, 0, x, regularized=True)))


def anova(values, groups):
    values, groups = np.asarray(values, float), np.asarray(groups)
    f, p = stats.f_oneway(*[values[groups == g] for g in np.unique(groups)])
    k, n = len(np.unique(groups)), len(values)
    return {"values": values.tolist(), "groups": groups.tolist(), "f": f, "p": p, "between": k - 1,
            "within": n - k, "log10_p": log10_f_tail(f, k - 1, n - k)}


def random_anova(n, k, shift):
    groups = rng.integers(0, k, n)
    return anova(rng.normal(size=n) + shift * groups, groups)


def tail(x, y, q):
    """Section 13 of the specification, with scipy's ranks and numpy's quantiles."""
    n = len(x)
    u, v = stats.rankdata(x) / (n + 1), stats.rankdata(y) / (n + 1)
    above = u > np.quantile(u, q)
    both = above & (v > np.quantile(v, q))
    return {"x": list(x), "y": list(y), "q": q, "tail": both.sum() / above.sum() if above.sum() else None}


def gaussian_tail(rho, q):
    h = mpmath.sqrt(2) * mpmath.erfinv(2 * mpmath.mpf(q) - 1)
    r = mpmath.mpf(rho)
    inner = lambda z: mpmath.npdf(z) * mpmath.ncdf((r * z - h) / mpmath.sqrt(1 - r * r))
    return {"rho": rho, "q": q, "tail": float(mpmath.quad(inner, [h, h + 1, h + 3, h + 8, h + 20]) / (1 - mpmath.mpf(q)))}


def hypergeometric(k, total, marked, drawn):
    return {"k": k, "total": total, "marked": marked, "drawn": drawn,
            "sf": stats.hypergeom.sf(k - 1, total, marked, drawn),
            "exact": float(exact_tail(k, total, marked, drawn)),
            "ln": float(mpmath.log(exact_tail(k, total, marked, drawn)))}


def exact_tail(k, total, marked, drawn):
    return sum(mpmath.binomial(marked, x) * mpmath.binomial(total - marked, drawn - x)
               for x in range(k, min(marked, drawn) + 1)) / mpmath.binomial(total, drawn)


def adjusted(p):
    return {"p": list(p), "bh": stats.false_discovery_control(p, method="bh").tolist(),
            "by": stats.false_discovery_control(p, method="by").tolist()}


def process(x, curves, variance, length, noise):
    """Log marginal likelihood of all values of a bundle by scikit-learn."""
    curves = np.asarray(curves)
    kernel = ConstantKernel(variance) * RBF(length) + WhiteKernel(noise)
    inputs = np.tile(x, len(curves))[:, None]
    g = GaussianProcessRegressor(kernel, optimizer=None, alpha=0).fit(inputs, curves.ravel())
    return {"x": list(x), "curves": curves.tolist(), "variance": variance, "length": length, "noise": noise,
            "ln_likelihood": g.log_marginal_likelihood_value_}


def two_sample(x, first, second):
    """Scaled together; the best of many starts for one curve and for two with the same three numbers."""
    first, second = np.asarray(first), np.asarray(second)
    both = np.concatenate([first, second])
    first, second = (first - both.mean()) / both.std(), (second - both.mean()) / both.std()
    bounds = np.log([(1e-4, 100.0), (np.ptp(x) / 50, 10 * np.ptp(x)), (1e-6, 10.0)])

    def fit(bundles):
        models = []
        for b in bundles:
            kernel = ConstantKernel(1.0) * RBF(1.0) + WhiteKernel(1.0)
            inputs = np.tile(x, len(b))[:, None]
            models.append(GaussianProcessRegressor(kernel, optimizer=None, alpha=0).fit(inputs, b.ravel()))
        loss = lambda theta: -sum(m.log_marginal_likelihood(theta) for m in models)
        starts = rng.uniform(bounds[:, 0], bounds[:, 1], (30, 3))
        found = [scipy.optimize.minimize(loss, s, bounds=bounds, method="L-BFGS-B") for s in starts]
        return -min(r.fun for r in found)

    return {"x": list(x), "first": both[: len(first)].tolist(), "second": both[len(first):].tolist(),
            "ln_bayes": fit([first, second]) - fit([np.concatenate([first, second])])}


x = np.linspace(0, 0.6, 13)
curve = lambda copies, noise, f: np.asarray([f(x) + noise * rng.normal(size=13) for _ in range(copies)])
counts = rng.poisson(0.3, 60).astype(float)
normal = rng.normal(size=200)
p = np.concatenate([rng.random(20), [0.01, 0.01, 1e-12, 1.0]])
(HERE / "stats.json").write_text(json.dumps({
    "origin": {"script": "make.py", "versions": {
        "numpy": np.__version__, "scipy": scipy.__version__, "scikit-learn": sklearn.__version__,
        "mpmath": mpmath.__version__}},
    "anova": [random_anova(40, 3, 0.3), random_anova(200, 6, 0.0), random_anova(185, 5, 2.0),
              random_anova(400, 4, 20.0), anova(np.concatenate([normal, normal + 300]), [0] * 200 + [1] * 200),
              anova([1, 1, 1, 2, 2.5, 3, 7], [0, 0, 0, 1, 1, 1, 2]), random_anova(3000, 12, 0.02)],
    "tail": [tail(normal, normal + rng.normal(size=200), 0.93), tail(counts, rng.permutation(counts), 0.8),
             tail(counts, counts, 0.93), tail(np.zeros(30), np.arange(30.0), 0.93), tail(normal[:7], normal[7:14], 0.5)],
    "gaussian_tail": [gaussian_tail(r, q) for q in (0.5, 0.93, 0.99) for r in (-0.9, -0.3, 0.0, 0.1, 0.5, 0.9, 0.999)],
    "hypergeometric": [hypergeometric(3, 50, 10, 12), hypergeometric(1, 20000, 50, 120), hypergeometric(40, 20000, 200, 300),
                       hypergeometric(0, 10, 3, 4), hypergeometric(4, 10, 4, 4), hypergeometric(250, 4000, 400, 900),
                       hypergeometric(60, 4000, 400, 900), hypergeometric(90, 4000, 400, 900)],
    "adjusted": [adjusted(p), adjusted([0.5]), adjusted(np.linspace(0.001, 0.2, 15))],
    "process": [process(x, curve(1, 0.2, np.sqrt), 1.3, 0.2, 0.05), process(x, curve(10, 0.1, np.sqrt), 0.5, 0.5, 0.3)],
    "two_sample": [two_sample(x, curve(10, 0.05, np.sqrt), curve(10, 0.05, lambda t: np.sqrt(t) + 0.05 * t)),
                   two_sample(x, curve(5, 0.1, np.sqrt), curve(7, 0.1, np.sqrt)),
                   two_sample(x, curve(10, 0.02, np.sqrt), curve(10, 0.02, lambda t: 0.8 * t ** 0.2))],
}, default=float))
