#!/usr/bin/env python3
"""Seconds per epoch of QMF: `unbraid fit qmf` beside the same epoch in PyTorch, in one run.

Cases: the paper's toy experiment (160 x 80, k 8, m 8, full batch), a table of the size of a glioblastoma cohort (1970 x 100,
k 10, m 16, full batch and mini-batches of 64), and, with --large, one of the size of a whole cohort (34500 x 1000, mini-batches of
64). Data are made by `unbraid simulate quantile`. Our time is the difference of the `seconds` of two fits of different length over
the difference of their epochs: reading, the first epoch and the end are left out.

The PyTorch epoch: potentials by batched Newton steps from those of the last visit, to 1e-6, without a graph; one more such step
with a graph for s alone, which gives the exact gradients of the solution; backward; Adam on all rows.

Needs NumPy and anndata; PyTorch for the second column (left out if it is not there).
"""
import argparse, json, math, statistics, subprocess, tempfile, time
from pathlib import Path

CASES = {
    "toy": dict(d=160, n=80, k=8, m=8, batch=0, rate=0.01, rho=0.0),
    "gbm-full": dict(d=1970, n=100, k=10, m=16, batch=0, rate=0.01, rho=0.0),
    "gbm-64": dict(d=1970, n=100, k=10, m=16, batch=64, rate=0.001, rho=0.001),
    "large-64": dict(d=34500, n=1000, k=10, m=16, batch=64, rate=0.001, rho=0.001),
}


def simulate(program, folder, c):
    path = Path(folder) / f"{c['d']}x{c['n']}.h5ad"
    if not path.exists():
        sizes = [f"features={c['d']}", f"observations={c['n']}", f"k={c['k']}"]
        sets = sum((["--set", s] for s in sizes), [])
        subprocess.run([program, "simulate", "quantile", "-o", path, "--seed", "1", *sets], check=True, capture_output=True)
    return path


def ours(program, path, folder, c, epochs, threads):
    def seconds(steps):
        sets = dict(k=c["k"], levels=c["m"], minibatch=c["batch"], learning_rate=c["rate"], rho=c["rho"], tol=0, max_steps=steps)
        args = sum((["--set", f"{k}={v}"] for k, v in sets.items()), [])
        run = [program, "fit", "qmf", path, "-o", Path(folder) / "fit.h5ad", "--threads", str(threads), "--json", "--quiet", *args]
        return json.loads(subprocess.run(run, check=True, capture_output=True).stdout)["seconds"]

    first = max(epochs // 5, 1)
    return (seconds(first + epochs) - seconds(first)) / epochs


def torch_epochs(path, c, epochs, threads):
    import anndata, torch

    torch.set_num_threads(threads)
    torch.set_default_dtype(torch.float64)
    X = torch.tensor(anndata.read_h5ad(path).X.T.copy()).double()
    d, n, k, m, eps = *X.shape, c["k"], c["m"], 0.01
    torch.manual_seed(1)
    U = (torch.rand(d, k) - 0.5).requires_grad_()
    V = (torch.rand(k, n) - 0.5).requires_grad_()
    F, R = torch.zeros(d, m, requires_grad=True), torch.zeros(d, m - 1, requires_grad=True)
    low, high = X.min(1, keepdim=True).values, X.max(1, keepdim=True).values
    y = torch.linspace(0, 1, m)
    G = torch.zeros(d, m)
    adam = torch.optim.Adam([U, V, F, R], lr=c["rate"], eps=1e-7)

    def plan(x, g):
        W = torch.softmax((g[:, None, :] - (x[:, :, None] - y) ** 2) / eps, 2)
        return W, W.mean(1)

    def laplacian(W, s):
        A = torch.diag_embed(s) - W.transpose(1, 2) @ W / n
        return A[:, :-1, :-1] + 1e-14 * torch.eye(m - 1)

    def move(A, r):
        step = torch.linalg.solve(A, r[:, :-1])
        step = torch.cat([step, torch.zeros(len(r), 1)], 1)
        return eps * (step - step.mean(1, keepdim=True))

    def one(rows):
        adam.zero_grad(set_to_none=False)
        z = U[rows].exp() @ V.exp()
        z = (z - z.mean(1, keepdim=True)) / z.std(1, correction=0, keepdim=True).clamp_min(1e-10)
        x = torch.sigmoid(z * math.pi / math.sqrt(3))
        b = torch.softmax(F[rows], 1)
        q = low[rows] + (high - low)[rows] * torch.cat([torch.zeros(len(rows), 1), torch.softmax(R[rows], 1).cumsum(1)], 1)
        with torch.no_grad():
            g = G[rows]
            for _ in range(30):
                W, s = plan(x, g)
                if ((s - b).abs() / b).max() <= 1e-6:
                    break
                step = move(laplacian(W, s), b - s)
                # Far from the solution Newton's step is shortened.
                size = step.abs().amax(1, keepdim=True)
                g = g + step * (0.05 / size).clamp_max(1.0)
            G[rows] = g
            A = laplacian(W, s)
        _, s = plan(x, g)
        W, _ = plan(x, g + move(A, b - s))
        T = (W * q[:, None, :]).sum(2)
        loss = (X[rows] * ((X[rows] + 1e-20) / (T + 1e-20)).log() - X[rows] + T).mean()
        if c["rho"]:
            loss = loss + c["rho"] / 2 * ((U[rows] ** 2).mean() + (V**2).mean())
        loss.backward()
        adam.step()
        return loss.item()

    def epoch():
        order = torch.randperm(d) if c["batch"] else torch.arange(d)
        return [one(rows) for rows in order.split(c["batch"] or d)]

    epoch()
    begun = time.perf_counter()
    for _ in range(epochs):
        epoch()
    return (time.perf_counter() - begun) / epochs


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--program", default="target/release/unbraid")
    p.add_argument("--cases", nargs="+", default=["toy", "gbm-full", "gbm-64"], choices=CASES)
    p.add_argument("--large", action="store_true")
    p.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    p.add_argument("--repeats", type=int, default=3)
    p.add_argument("--no-torch", action="store_true")
    a = p.parse_args()
    print(f"{'case':<10} {'threads':>7} {'ours s':>9} {'ns/entry':>9} {'torch s':>9} {'ratio':>7}")
    with tempfile.TemporaryDirectory() as folder:
        for name in a.cases + ["large-64"] * a.large:
            c = CASES[name]
            path = simulate(a.program, folder, c)
            entries = c["d"] * c["n"]
            epochs = max(3, min(300, int(2e7 / entries)))
            for threads in a.threads:
                t = statistics.median(ours(a.program, path, folder, c, epochs, threads) for _ in range(a.repeats))
                line = f"{name:<10} {threads:>7} {t:>9.5f} {1e9 * t / entries:>9.1f}"
                if not a.no_torch and name != "large-64":
                    other = torch_epochs(path, c, max(2, epochs // 50), threads)
                    line += f" {other:>9.4f} {other / t:>7.0f}"
                print(line, flush=True)


if __name__ == "__main__":
    main()
