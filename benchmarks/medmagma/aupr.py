"""Area under the precision-recall curve on the paper's design, 100 x 150, over noise and edge signs."""
import argparse

import numpy as np
from sklearn.metrics import auc, precision_recall_curve

import design
import program

METHODS = [
    ("medmagma paper", "medmagma", ["preset=paper"]),
    ("medmagma", "medmagma", []),
    ("medmagma em=false", "medmagma", ["em=false"]),
    ("gmgm paper", "gmgm", ["preset=paper"]),
    ("single-axis paper", "single-axis", ["preset=paper"]),
]


def area(truth, found):
    low = np.tril_indices_from(truth, -1)
    precision, recall, _ = precision_recall_curve(np.abs(truth[low]) > 0, np.abs(found[low]))
    return auc(recall, precision)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--seeds", type=int, default=20)
    p.add_argument("--signed-seeds", type=int, default=5)
    args = p.parse_args()
    print("edges  noise  method               rows              columns")
    cases = [("plus", noise, args.seeds) for noise in (0.0, 0.5, 1.0)]
    cases += [(sign, 1.0, args.signed_seeds) for sign in ("minus", "mixed")]
    for sign, noise, seeds in cases:
        data = [design.sample(100, 150, seed, noise, sign) for seed in range(seeds)]
        for name, method, settings in METHODS:
            areas = []
            for x, rows, cols in data:
                a, b, _ = program.fit(method, x, *settings)
                areas.append((area(rows, a), area(cols, b)))
            mean, sd = np.mean(areas, 0), np.std(areas, 0)
            print(f"{sign:6} {noise:4.1f}   {name:18} {mean[0]:.4f} ± {sd[0]:.3f}   {mean[1]:.4f} ± {sd[1]:.3f}", flush=True)


if __name__ == "__main__":
    main()
