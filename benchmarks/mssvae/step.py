#!/usr/bin/env python3
"""Seconds per training step of the MSSVAE decoder, forward and backward: ours beside PyTorch, on the same inputs in one run.

Sizes: `rna` (512 samples of three studies, 5000 features, 50 + 3 x 10 columns, hidden [256, 128], negative binomial) and `gaussian`
(100 features, 30 + 3 x 5 columns, hidden [50, 50]). Patterns of W: `dense`; `truth`, the support of `unbraid simulate multistudy-rna`;
`fit`, the non-zeros that a fit of the Gaussian simulation ends with, at rna size each of its rows 50 times.

`literal` forms c for every sample and feature, layer by layer, and lets autograd keep all of it: run at as many features as
--literal says, and scaled to all of them. `chunks` folds w into the first layer and takes ten features at a time, forward and
backward: run at --chunked features, and scaled. PyTorch does the same work for every pattern, so it runs once for each size.

Loss and norms of all gradients are compared on a part of the features before anything is timed. Needs NumPy, anndata, PyTorch and
cargo build --release -p unbraid --example mssvae_step, and the program.
"""
import argparse, json, statistics, subprocess, tempfile, time
from pathlib import Path
import numpy as np

SIZES = {
    "rna": dict(law="nb", g=5000, ks=50, km=10, h1=256, h2=128),
    "gaussian": dict(law="gaussian", g=100, ks=30, km=5, h1=50, h2=50),
}
N = [171, 171, 170]


def inputs(c, w, seed=0):
    """Everything a pass reads; W as given."""
    r = np.random.default_rng(seed)
    k = c["ks"] + 3 * c["km"]
    f = lambda *shape: r.normal(size=shape).astype(np.float32)
    u = lambda rows, columns, fan: ((2 * r.random((rows, columns)) - 1) / fan**0.5).astype(np.float32)
    d = dict(v1=u(c["h1"], k, k), v2=u(c["h2"], c["h1"], c["h1"]), b2=u(1, c["h2"], c["h1"]), v3=u(c["g"], c["h2"], c["h2"]))
    d |= dict(b3=f(1, c["g"]) * 0.3, p=u(c["h2"], k, k), w=w.astype(np.float32), noise=f(1, c["g"]) * 0.3)
    for m, n in enumerate(N):
        d[f"z{m}"] = f(c["ks"] + c["km"], n)
        if c["law"] == "nb":
            d[f"x{m}"] = r.negative_binomial(1.0, 0.03, (c["g"], n)).astype(np.float32)
            d[f"s{m}"] = 3.7 + 0.3 * f(1, n)
        else:
            d[f"x{m}"], d[f"s{m}"] = f(c["g"], n), np.zeros((1, n), np.float32)
    return d


def part(d, g):
    """The same with the first g features."""
    cut = {k: v[:g] if k in ("v3", "w", "x0", "x1", "x2") else v[:, :g] if k in ("b3", "noise") else v for k, v in d.items()}
    return {k: np.ascontiguousarray(v) for k, v in cut.items()}


def patterns(program, example, folder, size):
    c = SIZES[size]
    k = c["ks"] + 3 * c["km"]
    r = np.random.default_rng(1)
    out = {"dense": np.ones((c["g"], k), bool)}
    if size == "rna":
        import anndata

        path = Path(folder) / "rna.h5ad"
        subprocess.run([program, "simulate", "multistudy-rna", "-o", path, "--seed", "1000", "--set", "observations=60"], check=True, capture_output=True)
        truth = anndata.read_h5ad(path).varm["truth_supports"]
        truth = np.asarray(truth) != 0
        out["truth"] = place(truth, 20, 4, c)
    path = Path(folder) / "w.bin"
    subprocess.run([example, "fit", "gaussian", "500", "2", path], check=True, capture_output=True)
    fitted = np.fromfile(path, np.float32).reshape(100, 45) != 0
    out["fit"] = place(np.tile(fitted, (c["g"] // 100, 1)), 30, 5, c)
    return {name: m * (r.choice([-1, 1], m.shape) * r.uniform(0.5, 3, m.shape)) for name, m in out.items()}


def place(support, ks, km, c):
    """Columns of a smaller model in the first places of each block of a larger one."""
    w = np.zeros((len(support), c["ks"] + 3 * c["km"]), bool)
    w[:, :ks] = support[:, :ks]
    for m in range(3):
        w[:, c["ks"] + m * c["km"]:][:, :km] = support[:, ks + m * km:][:, :km]
    return w


def active(w, c):
    """Shares of (study, feature) pairs with 0, 1, 2, 3 and more active columns, and the mean number."""
    counts = np.concatenate([(np.c_[w[:, :c["ks"]], w[:, c["ks"] + m * c["km"]:][:, :c["km"]]] != 0).sum(1) for m in range(3)])
    return [round(float((counts == s).mean()), 3) for s in range(3)] + [round(float((counts >= 3).mean()), 3), round(float(counts.mean()), 2)]


def ours(example, folder, c, d, threads, repeats):
    path = Path(folder) / "inputs.bin"
    with open(path, "wb") as f:
        for v in d.values():
            f.write(np.ascontiguousarray(v, "<f4").tobytes())
    sizes = [str(v) for v in (d["w"].shape[0], c["ks"], c["km"], c["h1"], c["h2"], threads, repeats, *N)]
    return json.loads(subprocess.run([example, "decoder", path, c["law"], *sizes], check=True, capture_output=True).stdout)


def torch_step(c, d, chunk=None):
    """One forward and backward pass; returns loss and norms of gradients."""
    import torch

    t = {k: torch.from_numpy(v) for k, v in d.items()}
    names = ["v1", "v2", "b2", "v3", "b3", "p", "w", "noise", "z0", "z1", "z2"]
    for name in names:
        t[name].requires_grad_()
        t[name].grad = None
    g, scale, total = len(d["w"]), 1 / sum(N), 0.0

    def log_p(m, js):
        columns = torch.cat([torch.arange(c["ks"]), torch.arange(c["ks"] + m * c["km"], c["ks"] + (m + 1) * c["km"])])
        z, w, v1, p, v3 = t[f"z{m}"].T, t["w"][js][:, columns], t["v1"][:, columns], t["p"][:, columns], t["v3"][js]
        if chunk is None:
            masked = z[:, None, :] * w[None]
            h1 = torch.relu(masked @ v1.T)
        else:
            # A_j z, and the skip's slope, with w folded in.
            h1 = torch.relu(torch.einsum("nk,jhk->njh", z, v1[None] * w[:, None, :]))
        h2 = torch.relu(torch.nn.functional.linear(h1, t["v2"], t["b2"][0]))
        past = masked @ p.T if chunk is None else None
        o = t["b3"][0, js] + ((h2 + past if chunk is None else h2) * v3).sum(-1)
        if chunk is not None:
            o = o + z @ ((v3 @ p) * w).T
        x = t[f"x{m}"][js].T
        if c["law"] == "gaussian":
            log_s = t["noise"][0, js]
            return (-0.5 * np.log(2 * np.pi) - log_s - 0.5 * (x - o) ** 2 * torch.exp(-2 * log_s)).sum()
        phi = torch.exp(t["noise"][0, js])
        mu = torch.exp(t[f"s{m}"][0])[:, None] * torch.nn.functional.softplus(o)
        ratio = torch.lgamma(x + phi) - torch.lgamma(x + 1) - torch.lgamma(phi)
        return (ratio + phi * torch.log(phi / (phi + mu)) + x * torch.log(mu / (phi + mu))).sum()

    for js in torch.arange(g).split(chunk or g):
        if chunk is None:
            loss = sum(-scale * log_p(m, js) for m in range(3))
            loss.backward()
            total += loss.item()
        else:
            for m in range(3):
                loss = -scale * log_p(m, js)
                loss.backward()
                total += loss.item()
    norm = {k: float(t[k].grad.double().square().sum().sqrt()) for k in names[:8]}
    return total, norm | {"z": sum(float(t[f"z{m}"].grad.double().square().sum()) for m in range(3)) ** 0.5}


OUR_NAMES = {"v1": "dec.l1.weight", "v2": "dec.l2.weight", "b2": "dec.l2.bias", "v3": "dec.l3.weight", "b3": "dec.l3.bias", "p": "dec.proj.weight", "w": "W", "z": "z"}


def timed(call, repeats):
    call()
    out = []
    for _ in range(repeats):
        begun = time.perf_counter()
        call()
        out.append(time.perf_counter() - begun)
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--program", default="target/release/unbraid")
    p.add_argument("--example", default="target/release/examples/mssvae_step")
    p.add_argument("--sizes", nargs="+", default=list(SIZES), choices=SIZES)
    p.add_argument("--patterns", nargs="+", default=["dense", "truth", "fit"])
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--repeats", type=int, default=5)
    p.add_argument("--literal", type=int, default=500, help="features of the literal form at rna size")
    p.add_argument("--chunked", type=int, default=250, help="features of the chunked form at rna size")
    p.add_argument("--torch-repeats", type=int, default=3)
    p.add_argument("--no-torch", action="store_true")
    p.add_argument("--keep", help="folder for the inputs, kept and used again")
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = a.keep or temporary
        Path(folder).mkdir(parents=True, exist_ok=True)
        for size in a.sizes:
            c = SIZES[size]
            stored = Path(folder) / f"patterns-{size}.npz"
            if not stored.exists():
                np.savez(stored, **patterns(a.program, a.example, folder, size))
            ws = dict(np.load(stored))
            literal = chunks = None
            if not a.no_torch:
                import torch

                torch.set_num_threads(a.threads)
                # The same loss and gradients first.
                d = part(inputs(c, ws["fit"]), 100)
                found, (loss, norms) = ours(a.example, folder, c, d, a.threads, 1)["full"], torch_step(c, d)
                gaps = [abs(found["norms"][OUR_NAMES[k]] / v - 1) for k, v in norms.items() if k in OUR_NAMES] + [abs(found["loss"] / loss - 1)]
                print(f"{size}: loss and norms of gradients differ by at most {max(gaps):.1e} (relative)", flush=True)
                assert max(gaps) < 1e-3
                d = inputs(c, ws["dense"])
                few, some = min(a.literal, c["g"]), min(a.chunked, c["g"])
                cut = part(d, few)
                literal = statistics.median(timed(lambda: torch_step(c, cut), a.torch_repeats)) * c["g"] / few
                cut = part(d, some)
                chunks = statistics.median(timed(lambda: torch_step(c, cut, 10), a.torch_repeats)) * c["g"] / some
                x = torch.randn(2048, 2048)
                rate = 2e-9 * 2048**3 / min(timed(lambda: x @ x, 5))
                print(f"{size}: PyTorch literal {literal:.4f} s ({few} features, scaled), chunks of 10 {chunks:.4f} s ({some}, scaled), product of 2048^2 {rate:.0f} GFLOP/s", flush=True)
            for name in (n for n in a.patterns if n in ws):
                d = inputs(c, ws[name])
                r = ours(a.example, folder, c, d, a.threads, a.repeats)
                kc = c["ks"] + c["km"]
                flop = 6 * sum(N) * c["g"] * (kc * c["h1"] + c["h1"] * c["h2"] + c["h2"] + kc)
                shares = " ".join(str(v) for v in active(ws[name], c))
                print(f"{size} {name}: rows with 0, 1, 2, more active columns, mean: {shares}; our product of 2048^2 {r['gemm']:.0f} GFLOP/s; peak {r['peak_mb']:.0f} MB, of it inputs {r['inputs_mb']:.0f}")
                for mode in ("active", "full"):
                    s = statistics.median(r[mode]["seconds"])
                    line = f"  {mode:<7} {s:8.4f} s (min {min(r[mode]['seconds']):.4f})"
                    if name == "dense":
                        line += f"  {1e-9 * flop / s:.0f} GFLOP/s, {1e-9 * flop / s / r['gemm']:.2f} of the product's"
                    if literal:
                        line += f"  {literal / s:.1f}x literal, {chunks / s:.1f}x chunks"
                    print(line, flush=True)


if __name__ == "__main__":
    main()
