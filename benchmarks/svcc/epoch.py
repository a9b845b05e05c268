"""Time of a joint epoch of SVCC with all its terms, beside PyTorch, and of large sparse counts.

    python benchmarks/svcc/epoch.py --data FOLDER [--sets planted_p cstr classic3] [--threads 2]
    python benchmarks/svcc/epoch.py --large 10000 25000 50000

FOLDER holds the matrices (NAME/X.mtx.gz). Both sides make the same steps: batches of at most 256 rows and 256 columns, the shorter side
wrapping round, three steps an epoch at least, K = 3 samples, hidden layers of 256 and 64, codes of 10 numbers, float32. The terms: the
K-sample bound with doubly reparametrised gradients of encoders and mixtures, the symmetric contrast with corrupted copies, the
mutual-information cross-loss with banks of memberships, the joint space of 512 cells a step, clipping, Adam with decoupled decay. PyTorch
works on dense tensors, in eager mode, with autograd; it is written for speed as far as that goes (one product for all samples, no copies
of the table). The median epoch counts, after one that is not timed. The rate of a product of 2048² is measured in the same process.
"""

import argparse
import json
import math
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

HIDDEN, LATENT, SAMPLES, BATCH, CELLS, CODE = (256, 64), 10, 3, 256, 512, 4


def stored(path, x):
    """The table as the example reads it: n, m, entries, then rows, columns and values."""
    x = x.tocoo()
    with open(path, "wb") as f:
        np.array([x.shape[0], x.shape[1], x.nnz], dtype="<u8").tofile(f)
        x.row.astype("<u4").tofile(f)
        x.col.astype("<u4").tofile(f)
        x.data.astype("<f8").tofile(f)


def ours(example, path, g, h, threads, epochs, more=()):
    words = [example, str(path), str(g), str(h), str(threads), str(epochs), *more]
    return json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout)


class Torch:
    """SVCC in PyTorch."""

    def __init__(self, x, clusters):
        import scipy.sparse as sp
        import torch
        from torch import nn

        self.torch, self.nn = torch, nn
        torch.manual_seed(0)
        n, m = x.shape
        dense = torch.tensor(np.asarray(x.todense(), dtype=np.float32))

        def weighted(a):
            rare = np.log((1 + a.shape[0]) / (1 + np.asarray((a > 0).sum(0)).ravel())) + 1
            t = sp.csr_matrix(a.multiply(rare))
            t = sp.diags(1 / np.sqrt(np.asarray(t.multiply(t).sum(1)).ravel())) @ t
            t = torch.tensor(np.asarray(t.todense(), dtype=np.float32))
            return t / t.square().mean().sqrt()

        x = sp.csr_matrix(x)
        self.y = [dense, dense.T.contiguous()]
        self.x = [weighted(x), weighted(sp.csr_matrix(x.T))]
        self.p = [d / float(x.sum()) for d in self.y]
        self.log_margins = torch.log(dense.sum(1))[:, None], torch.log(dense.sum(0))[None], math.log(float(x.sum()))
        mass = self.p[0]
        outer = mass.sum(1, keepdim=True) * mass.sum(0, keepdim=True)
        self.information = float(torch.where(mass > 0, mass * torch.log((mass / outer).clamp(min=1e-30)), 0.0).sum())
        self.weight = 10 * float(x.sum()) * self.information / n
        self.sizes = n, m

        def layers(*widths):
            out = []
            for a, b in zip(widths, widths[1:]):
                out += [nn.Linear(a, b), nn.ReLU()]
            return nn.Sequential(*out)

        def mixture(k, dims):
            return nn.ParameterDict({"logits": nn.Parameter(torch.zeros(k)), "mean": nn.Parameter(torch.randn(k, dims)), "log_sigma": nn.Parameter(torch.zeros(k, dims))})

        self.sides = []
        for width, k in ((m, clusters[0]), (n, clusters[1])):
            self.sides.append(nn.ModuleDict({
                "encoder": layers(width, *HIDDEN), "mean": nn.Linear(HIDDEN[1], LATENT), "spread": nn.Linear(HIDDEN[1], LATENT),
                "decoder": nn.Sequential(*layers(LATENT, *HIDDEN[::-1]), nn.Linear(HIDDEN[0], width)),
                "code": nn.Linear(LATENT, 16), "line": nn.Linear(HIDDEN[1], 16), "mixture": mixture(k, LATENT),
            }))
        blocks = -(-clusters[0] * clusters[1] // 2)
        self.joint = nn.ModuleDict({
            "encoder": layers(2 * LATENT, 32), "mean": nn.Linear(32, CODE), "spread": nn.Linear(32, CODE),
            "decoder": nn.Sequential(*layers(CODE + 2 * LATENT, 32), nn.Linear(32, 1)), "mixture": mixture(blocks, CODE),
        })
        self.all = nn.ModuleList([*self.sides, self.joint])
        self.adam = torch.optim.AdamW(self.all.parameters(), lr=1e-3, weight_decay=1e-5)
        with torch.no_grad():
            self.banks = [torch.softmax(self.components(s["mixture"], s["mean"](s["encoder"](x))) / 3, -1) for s, x in zip(self.sides, self.x)]

    def components(self, mixture, z):
        """log π_c N(z; μ_c, σ_c)."""
        scaled = (z.unsqueeze(-2) - mixture["mean"]) * self.torch.exp(-mixture["log_sigma"])
        rest = mixture["log_sigma"].sum(-1) + 0.5 * z.shape[-1] * math.log(2 * math.pi)
        return self.torch.log_softmax(mixture["logits"], 0) - 0.5 * scaled.square().sum(-1) - rest

    def density(self, z, mean, log_variance):
        return -0.5 * ((z - mean).square() * self.torch.exp(-log_variance) + log_variance + math.log(2 * math.pi)).sum(-1)

    def bound(self, mixture, z, mean, log_variance, likelihood, beta):
        """Surrogate whose gradient is that of F by doubly reparametrised estimators, in encoder and mixture; its mean over items."""
        torch = self.torch
        hold = z.detach().requires_grad_(True)
        a = likelihood(hold)
        held = hold.detach().requires_grad_(True)
        comp = self.components(mixture, held)
        log_p, log_q = torch.logsumexp(comp, -1), self.density(held, mean.detach(), log_variance.detach())
        w = torch.softmax((a + beta * (log_p - log_q)).detach(), 0)
        (r,) = torch.autograd.grad((w * a).sum(), hold, retain_graph=True)
        (p,) = torch.autograd.grad((w * beta * (log_p - log_q)).sum(), held, retain_graph=True)
        c = ((1 - beta) + beta * w).unsqueeze(-1)
        v = r - c * (r + p)
        gamma = torch.softmax(comp.detach(), -1)
        offset = (held.detach().unsqueeze(-2) - mixture["mean"].detach()) * torch.exp(-mixture["log_sigma"].detach())
        moved = mixture["mean"] + torch.exp(mixture["log_sigma"]) * offset
        prior = (gamma.unsqueeze(-1) * v.unsqueeze(-2) * moved).sum() + (beta * w * (torch.log_softmax(mixture["logits"], 0) * gamma).sum(-1)).sum()
        return ((w * a).sum() + (c * (r + p) * z).sum() + prior) / mean.shape[0]

    def step(self, items, beta=1.0):
        torch, functional = self.torch, self.nn.functional
        loss, first = 0.0, []
        for side, x, y, at in zip(self.sides, self.x, self.y, items):
            x, y = x[at], y[at]
            hidden = side["encoder"](x)
            mean, log_variance = side["mean"](hidden), side["spread"](hidden).clamp(-8, 4)
            noise = torch.randn(SAMPLES, *mean.shape)
            z = mean + torch.exp(0.5 * log_variance) * noise
            stretch = (1 / mean.detach().std(0).clamp(min=1e-6)).clamp(1, 10) - 1

            def likelihood(z):
                return (y * torch.log_softmax(side["decoder"](z + stretch * mean), -1)).sum(-1)

            loss = loss - self.bound(side["mixture"], z, mean, log_variance, likelihood, beta)
            corrupted = side["encoder"](x * (torch.rand_like(x) > 0.2))
            code = side["mean"](corrupted) + torch.exp(0.5 * side["spread"](corrupted).clamp(-8, 4)) * noise[0]
            a, b = functional.normalize(side["code"](code), dim=-1), functional.normalize(side["line"](hidden), dim=-1)
            logits, true = a @ b.T / 0.2, torch.arange(len(at))
            loss = loss + 0.5 * (functional.cross_entropy(logits, true) + functional.cross_entropy(logits.T, true))
            first.append(z[0])
        gamma = [torch.softmax(self.components(s["mixture"], z) / 3, -1) for s, z in zip(self.sides, first)]
        for side in (0, 1):
            q = gamma[side].T @ (self.p[side][items[side]] @ self.banks[1 - side])
            q = q / q.sum()
            kept = (q * (torch.log(q + 1e-20) - torch.log(q.sum(1, keepdim=True)) - torch.log(q.sum(0, keepdim=True)))).sum()
            loss = loss + 0.5 * self.weight * (1 - kept / self.information)
            self.banks[side][items[side]] = gamma[side].detach()
        rows, cols = torch.randint(len(items[0]), (CELLS,)), torch.randint(len(items[1]), (CELLS,))
        pair = torch.cat([first[0][rows], first[1][cols]], 1)
        hidden = self.joint["encoder"](pair)
        mean, log_variance = self.joint["mean"](hidden), self.joint["spread"](hidden).clamp(-8, 4)
        t = mean + torch.exp(0.5 * log_variance) * torch.randn(SAMPLES, *mean.shape)
        i, j = items[0][rows], items[1][cols]
        x = self.y[0][i, j]
        base = self.log_margins[0][i, 0] + self.log_margins[1][0, j] - self.log_margins[2]

        def likelihood(t):
            log = (self.joint["decoder"](torch.cat([t, pair.expand(SAMPLES, -1, -1)], -1)).squeeze(-1) + base).clamp(max=10)
            return x * log - torch.exp(log)

        loss = loss - self.sizes[1] / 10 * self.bound(self.joint["mixture"], t, mean, log_variance, likelihood, beta)
        self.adam.zero_grad()
        loss.backward()
        self.nn.utils.clip_grad_norm_(self.all.parameters(), 100.0)
        self.adam.step()

    def epoch(self, steps):
        torch = self.torch
        batches = [-(-s // BATCH) for s in self.sizes]
        orders = [[], []]
        for s in range(steps):
            items = []
            for side, (n, b) in enumerate(zip(self.sizes, batches)):
                if s % b == 0:
                    orders[side] = torch.randperm(n)
                items.append(orders[side][s % b * n // b : (s % b + 1) * n // b])
            self.step(items)


def timed(call, repeats):
    out = []
    for _ in range(repeats):
        begun = time.perf_counter()
        call()
        out.append(time.perf_counter() - begun)
    return out


def beside_torch(a, folder):
    import torch
    from scipy.io import mmread
    from scipy.sparse import csr_matrix

    torch.set_num_threads(a.threads)
    clusters = {"planted_p": (5, 4), "cstr": (4, 4), "classic3": (3, 3)}
    for name in a.sets:
        x = csr_matrix(mmread(f"{a.data}/{name}/X.mtx.gz").astype(np.float64))
        path = Path(folder) / name
        stored(path, x)
        g, h = clusters[name]
        found = ours(a.example, path, g, h, a.threads, a.epochs)
        model = Torch(x, (g, h))
        steps = max(-(-x.shape[0] // BATCH), -(-x.shape[1] // BATCH), 3)
        model.epoch(1)
        theirs = statistics.median(timed(lambda: model.epoch(steps), a.torch_epochs))
        side = torch.randn(2048, 2048)
        rate = 2e-9 * 2048**3 / min(timed(lambda: side @ side, 5))
        own = found["epoch"]
        print(
            f"{name}: {x.shape[0]} x {x.shape[1]}, {steps} steps an epoch; ours {own:.4f} s, PyTorch {theirs:.4f} s: {theirs / own:.1f} times; "
            f"{found['gflop']:.2f} GFLOP an epoch, {found['gflop'] / own:.0f} GFLOP/s, {found['gflop'] / own / found['gemm']:.2f} of our product of 2048^2 "
            f"({found['gemm']:.0f}; PyTorch's {rate:.0f})",
            flush=True,
        )


def large(a, folder):
    from scipy.sparse import random

    for n in a.large:
        rng = np.random.default_rng(0)
        x = random(n, a.features, density=0.05, format="csr", random_state=rng, data_rvs=lambda k: rng.poisson(1.0, k) + 1.0)
        path = Path(folder) / str(n)
        stored(path, x)
        found = ours(a.example, path, 10, 10, a.threads, a.epochs, [f"pretrain={a.pretrain}", "progress"])
        print(
            f"{n} x {a.features}, {x.nnz} entries: {found['joint']:.1f} s for {a.epochs} joint epochs ({found['joint'] / a.epochs / x.nnz * 1e9:.1f} ns an entry and "
            f"epoch), {found['processors']:.1f} s of processors; {found['seconds']:.1f} s in all with {a.pretrain} of pre-training; peak {found['peak_mb']:.0f} MB",
            flush=True,
        )


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", help="folder of the matrices")
    p.add_argument("--sets", nargs="+", default=["planted_p", "cstr", "classic3"])
    p.add_argument("--large", nargs="+", type=int, default=[], help="rows of drawn sparse counts; without PyTorch")
    p.add_argument("--features", type=int, default=5000)
    p.add_argument("--pretrain", type=int, default=1)
    p.add_argument("--example", default="target/release/examples/svcc_epoch")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--epochs", type=int, default=8)
    p.add_argument("--torch-epochs", type=int, default=5)
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if a.large:
            large(a, folder)
        else:
            beside_torch(a, folder)


if __name__ == "__main__":
    main()
