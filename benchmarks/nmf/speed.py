"""`nmf` against scikit-learn's NMF from the same start: seconds to within 1e-3 of the best loss that any solver reached.

Two tables: 2000 x 500 dense, k = 10 (low rank times gamma noise), and 20000 x 2000 counts, 5 % of them above 0, k = 20 (Poisson about
a low rank). `make` writes tables and starts; `best` runs every solver for long and finds the best loss, and how many steps each of
scikit-learn's solvers needs; `time` measures. Ours: the clock runs from the table in memory, the loss is computed in every step.
scikit-learn's: the whole call of `non_negative_factorization` with that many steps and tol=0, no loss computed. Where that takes too
long (`--short`), a few steps are timed and the seconds per step multiplied. Median of five runs each.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time
import warnings

import numpy as np
import sklearn
from scipy import sparse
from sklearn.decomposition import non_negative_factorization
from threadpoolctl import threadpool_limits

warnings.simplefilter("ignore")
ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "target/release/examples/nmf_speed"
NAMES = {"kl": "kullback-leibler", "frobenius": "frobenius"}
PEERS = {"frobenius": ["cd", "mu"], "kl": ["mu"]}
WITHIN = 1e-3


def tables():
    rng = np.random.default_rng(0)
    w, h = rng.gamma(0.5, 1, (2000, 10)), rng.gamma(0.5, 1, (10, 500))
    yield "dense", w @ h * rng.gamma(5, 0.2, (2000, 500)), 10
    w, h = rng.gamma(0.3, 1, (20000, 20)), rng.gamma(0.3, 1, (20, 2000))
    rate = w @ h
    factor = 1.0
    for _ in range(40):
        factor *= 0.05 / (1 - np.exp(-factor * rate[::50])).mean()
    yield "sparse", sparse.csr_matrix(rng.poisson(factor * rate).astype(float)), 20


def make(folder):
    for name, x, k in tables():
        here = folder / name
        here.mkdir(parents=True, exist_ok=True)
        n, d = x.shape
        stored = x.nnz if sparse.issparse(x) else 0
        np.array([n, d, k, stored], dtype="<u8").tofile(here / "shape")
        (x.data if stored else x).astype("<f8").tofile(here / "values")
        if stored:
            x.indptr.astype("<u8").tofile(here / "indptr")
            x.indices.astype("<u4").tofile(here / "indices")
        rng = np.random.default_rng(1)
        size = 2 * np.sqrt(x.mean() / k)
        for side, rows in [("scores", n), ("loadings", d)]:
            (size * (rng.random((rows, k)) + 0.01)).astype("<f8").tofile(here / side)
        print(f"{name}: {n} x {d}, k = {k}, {(x != 0).mean() if not stored else stored / n / d:.3f} above 0")


def read(folder, name):
    here = folder / name
    n, d, k, stored = (int(v) for v in np.fromfile(here / "shape", "<u8"))
    x = np.fromfile(here / "values", "<f8")
    if stored:
        indices = np.fromfile(here / "indices", "<u4").astype(np.int32)
        x = sparse.csr_matrix((x, indices, np.fromfile(here / "indptr", "<u8").astype(np.int32)), (n, d))
    else:
        x = x.reshape(n, d)
    w, h = np.fromfile(here / "scores", "<f8").reshape(n, k), np.fromfile(here / "loadings", "<f8").reshape(d, k).T.copy()
    return x, w, h


def loss_of(loss, x, w, h):
    """Summed loss, zeros never made dense."""
    if loss == "frobenius":
        if sparse.issparse(x):
            cross = ((x @ h.T) * w).sum()
            return 0.5 * ((x.data**2).sum() - 2 * cross + ((w.T @ w) * (h @ h.T)).sum())
        return 0.5 * ((x - w @ h) ** 2).sum()
    total = w.sum(0) @ h.sum(1) - x.sum()
    if not sparse.issparse(x):
        at = x > 0
        return total + (x[at] * np.log(x[at] / (w @ h)[at])).sum()
    c = x.tocoo()
    for s in range(0, c.nnz, 200_000):
        part = slice(s, s + 200_000)
        z = (w[c.row[part]] * h.T[c.col[part]]).sum(1)
        total += (c.data[part] * np.log(c.data[part] / z)).sum()
    return total


def theirs(x, w, h, loss, solver, steps):
    return non_negative_factorization(
        x, w.copy(), h.copy(), n_components=h.shape[0], init="custom", solver=solver, beta_loss=NAMES[loss], max_iter=steps, tol=0
    )


def ours(folder, name, loss, threads, steps, runs, solver="coordinate"):
    command = [PROGRAM, folder / name, loss, solver, str(threads), str(steps), str(runs)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [np.array(line.split(), float).reshape(-1, 2) for line in lines]


def best(folder, name, loss, most, chunk, own):
    """Best loss of all, and steps of scikit-learn's solvers to within WITHIN of it (None: not in `most`)."""
    x, w, h = read(folder, name)
    courses = {"unbraid": ours(folder, name, loss, 2, own, 1)[0][:, 1].tolist()}
    for solver in PEERS[loss]:
        a, b, course = w, h, []
        while len(course) * chunk < most:
            a, b, _ = theirs(x, a, b, loss, solver, chunk)
            course.append(loss_of(loss, x, a, b))
        courses[solver] = course
    least = min(min(c) for c in courses.values())
    out = {"best": least, "by": min(courses, key=lambda c: min(courses[c])), "steps": {}, "final": {}}
    for solver, course in courses.items():
        met = [i for i, v in enumerate(course) if v <= (1 + WITHIN) * least]
        size = 1 if solver == "unbraid" else chunk
        out["steps"][solver] = (met[0] + 1) * size if met else None
        out["final"][solver] = course[-1] / least - 1
        if not met:
            out.setdefault("ran", {})[solver] = len(course) * size
    return out


def measure(folder, name, loss, found, threads, runs, short):
    target = (1 + WITHIN) * found["best"]
    steps = found["steps"]["unbraid"]
    curves = ours(folder, name, loss, threads, steps, runs)
    own = [c[c[:, 1] <= target][0, 0] for c in curves]
    print(f"{name} {loss} {threads} threads: unbraid {steps} steps, seconds {[round(t, 4) for t in own]}", flush=True)
    x, w, h = read(folder, name)
    for solver in PEERS[loss]:
        need = found["steps"][solver]
        count = need or found["ran"][solver]
        timed = min(count, short) if short else count
        times = []
        for _ in range(runs):
            begun = time.perf_counter()
            with threadpool_limits(threads):
                theirs(x, w, h, loss, solver, timed)
            times.append((time.perf_counter() - begun) * count / timed)
        ratio = statistics.median(times) / statistics.median(own)
        more = "" if need else "more than "
        how = f"{timed} timed, " if timed < count else ""
        print(f"    scikit-learn {solver}: {more}{count} steps, {how}seconds {[round(t, 3) for t in times]}: {more}{ratio:.1f} times ours", flush=True)


def main():
    global PROGRAM
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["make", "best", "time"])
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "target/nmf-speed")
    parser.add_argument("--table", choices=["dense", "sparse"], default="dense")
    parser.add_argument("--loss", choices=["kl", "frobenius"], default="kl")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--most", type=int, default=400, help="steps of scikit-learn tried by `best`")
    parser.add_argument("--own", type=int, default=200, help="steps of ours in `best`")
    parser.add_argument("--chunk", type=int, default=1, help="steps of scikit-learn between two losses in `best`")
    parser.add_argument("--short", type=int, default=0, help="time at most this many steps of scikit-learn")
    parser.add_argument("--program", type=pathlib.Path, default=PROGRAM)
    a = parser.parse_args()
    PROGRAM = a.program
    store = a.folder / f"best-{a.table}-{a.loss}.json"
    if a.what == "make":
        make(a.folder)
    elif a.what == "best":
        found = best(a.folder, a.table, a.loss, a.most, a.chunk, a.own)
        store.write_text(json.dumps(found))
        print(f"{a.table} {a.loss}: {json.dumps(found)}")
    else:
        print(f"# scikit-learn {sklearn.__version__}, NumPy {np.__version__}, Python {sys.version.split()[0]}", flush=True)
        measure(a.folder, a.table, a.loss, json.loads(store.read_text()), a.threads, a.runs, a.short)


if __name__ == "__main__":
    main()
