"""Writes explained.json beside this file: shares of variance as R² of least squares by statsmodels.

Needs numpy and statsmodels; versions are stored in it. `all` is the R² of the scores on dummies of the groups, or on
the number. `within` is the same of the scores less the means of their studies, in the studies that may have the factor
and in which the covariate varies: 1 - RSS / RSS of study means alone.
"""

import json
import pathlib

import numpy as np
import statsmodels
import statsmodels.api as sm

HERE = pathlib.Path(__file__).parent
rng = np.random.default_rng(20261126)
N = 90

study = np.sort(rng.integers(0, 3, N))
groups = rng.integers(0, 4, N)
groups[study == 2] = 1  # constant in one study
numbers = rng.normal(size=N)
owner = [None, None, 0, 2, None]
scores = rng.normal(size=(5, N))
scores[0] += groups
scores[1] += 0.7 * numbers + study
scores[2] = np.where(study == 0, scores[2] + 0.5 * groups, 0)
scores[3] = np.where(study == 2, scores[3] + 3 + numbers, 0)
scores[4] = 0


def dummies(codes):
    return (np.asarray(codes)[:, None] == np.unique(codes)).astype(float)


def rss(y, x):
    fit = sm.OLS(y, x).fit()
    return float(fit.ssr)


def share(y, x):
    whole = rss(y, np.ones((len(y), 1)))
    return None if whole < 1e-20 else 1 - rss(y, x) / whole


def within(y, design, may, varies):
    part = whole = 0.0
    for m in may:
        at = study == m
        if varies(at):
            base = rss(y[at], np.ones((at.sum(), 1)))
            whole += base
            part += base - rss(y[at], design(at))
    return None if whole < 1e-20 else part / whole


def of_groups(codes):
    may = lambda o: range(3) if o is None else [o]
    return ([share(y, dummies(codes)) for y in scores],
            [within(y, lambda at: dummies(codes[at]), may(o), lambda at: len(set(codes[at])) > 1)
             for y, o in zip(scores, owner)])


def line(at):
    return sm.add_constant(numbers[at])


out = {}
out["groups_all"], out["groups_within"] = of_groups(groups)
out["study_all"], out["study_within"] = of_groups(study)
out["numbers_all"] = [share(y, line(np.full(N, True))) for y in scores]
out["numbers_within"] = [within(y, line, range(3) if o is None else [o], lambda at: True) for y, o in zip(scores, owner)]
(HERE / "explained.json").write_text(json.dumps({
    "origin": {"script": "explained.py", "versions": {"numpy": np.__version__, "statsmodels": statsmodels.__version__}},
    "scores": scores.tolist(), "owner": owner, "study": study.tolist(), "groups": groups.tolist(),
    "numbers": numbers.tolist(), "expected": out}))
