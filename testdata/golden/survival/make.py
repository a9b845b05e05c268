"""Writes curves/case.npz and curves/origin.json beside this file. Needs numpy, scipy, pandas, lifelines."""

import json
import pathlib

import lifelines
import numpy as np
import pandas as pd
from lifelines import CoxPHFitter, KaplanMeierFitter
from lifelines.statistics import multivariate_logrank_test, proportional_hazard_test
from scipy.stats import rankdata

HERE = pathlib.Path(__file__).parent
rng = np.random.default_rng(11)
arrays = {}


def sample(n, grid):
    """Times on a grid of whole numbers, so that many tie; the first covariate's effect fades with time."""
    x = rng.normal(size=(n, 3))
    early, late = rng.exponential(size=n), rng.exponential(size=n)
    first = early / np.exp(1.2 * x[:, 0] + 0.5 * x[:, 1])
    time = np.where(first < 0.5, first, 0.5 + late / np.exp(-0.8 * x[:, 0] + 0.5 * x[:, 1]))
    return x, np.ceil(time * grid), (rng.random(n) < 0.75).astype(float)


def mean_ranks(times, events, weights):
    """Ranks of the event times among each other; ties share the mean."""
    out = np.zeros(len(times))
    seen = np.asarray(events, bool)
    out[seen] = rankdata(np.asarray(times)[seen])
    return pd.Series(out, index=times.index)


for name, n, grid, groups in [("ties", 90, 12, 2), ("fine", 140, 100000, 3)]:
    x, time, event = sample(n, grid)
    group = rng.integers(0, groups, n).astype(float)
    fit = KaplanMeierFitter().fit(time, event)
    table, band = fit.event_table.iloc[1:], fit.confidence_interval_.iloc[1:]
    curve = np.column_stack([table.index, fit.survival_function_.iloc[1:, 0], band, table.at_risk,
                             table.observed, table.censored])
    test = multivariate_logrank_test(time, group, event)
    frame = pd.DataFrame(np.column_stack([(x - x.mean(0)) / x.std(0, ddof=1), time, event]),
                         columns=["a", "b", "c", "time", "event"])
    cox = CoxPHFitter().fit(frame, "time", "event", fit_options={"precision": 1e-12})
    ph = proportional_hazard_test(cox, frame, time_transform=mean_ranks)
    arrays |= {f"{name}_x": x, f"{name}_time": time, f"{name}_event": event, f"{name}_group": group,
               f"{name}_curve": curve, f"{name}_median": np.float64(fit.median_survival_time_),
               f"{name}_log_rank": np.array([test.test_statistic, test.degrees_of_freedom, test.p_value]),
               f"{name}_ph": np.column_stack([ph.test_statistic, ph.p_value])}

(HERE / "curves").mkdir(exist_ok=True)
np.savez_compressed(HERE / "curves" / "case.npz", **arrays)
origin = {
    "origin": f"lifelines {lifelines.__version__} (Python package): KaplanMeierFitter, multivariate_logrank_test, "
              "proportional_hazard_test on a CoxPHFitter with Efron ties; testdata/golden/survival/make.py",
    "kind": "survival",
    "curve": ["time", "share", "low", "high", "at risk", "events", "censored"],
    "log_rank": ["chi2", "degrees of freedom", "p"],
    "ph": "chi2 and p for each covariate; time as mean ranks of the event times",
    "left_out": "the band where no one is left: lifelines gives 1, the library carries the upper end on",
}
(HERE / "curves" / "origin.json").write_text(json.dumps(origin, indent=1) + "\n")
