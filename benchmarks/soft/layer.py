"""Times the soft layer beside a compiled prototype, ott-jax, and automatic differentiation in torch.

    python benchmarks/soft/layer.py [--prototype k.cpp] [--peers prototype ott newton unrolled] [--sizes 64x80x8 ...]

Milliseconds for d rows, squash, forward and backward, f64, ε = 0.01, the same inputs for all: minimum / median of
repeats. The layer and the prototype stop at a column error of 1e-8, ott-jax at its default of 1e-3 (jit, vmap, x64,
implicit gradient of w and q; compiled before), torch runs four Newton steps from 1-D quantiles or 100 Sinkhorn sweeps, all under autograd.
The prototype is compiled here and then, with g++ -O3 -march=native, and again with -ffast-math, without which its sums are
not vectorised. Its path is $UNBRAID_SHARED/prototypes/qmf/k.cpp unless given. Peers not installed are left out.
"""
import argparse, ctypes, json, os, subprocess, tempfile, time

os.environ.update(OMP_NUM_THREADS="1", XLA_FLAGS="--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
import numpy as np

EPSILON, TOL = 0.01, 1e-8
# Doubles in a vector.
WIDTH = 8 if "avx512f" in open("/proc/cpuinfo").read() else 4
SIZES = [(64, n, m) for n in (80, 256, 1000, 5000) for m in (8, 16)] + [
    (500, n, m) for n in (80, 256, 1000, 5000) for m in (8, 16)
]


def case(d, n, m):
    rng = np.random.default_rng(1)
    w = np.exp(rng.standard_normal((d, n)))
    moved = w * (1 + 0.01 * rng.standard_normal((d, n)))
    b = rng.random((d, m)) + 0.5
    q = np.sort(rng.random((d, m)), axis=1)
    return w, moved, b / b.sum(1, keepdims=True), q, rng.standard_normal((d, n))


def timed(call, repeats):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    return times


def brief(times):
    return [round(float(v), 4) for v in (np.min(times), np.median(times))]


def flops(n, m, steps, laplacians):
    """Multiply-adds of one row that no method with this number of passes can leave out.

    Powers m − 1; a pass for the sums 2 m; Laplacian 3 m (edges of evenly spaced targets depend on the sum of their places); T m;
    transposed Jacobian 2 m + 4 m. Three exponentials of 18 each. Divisions, squashing and what does not grow with n are left out.
    """
    return n * (m - 1 + 2 * m * (steps + 1) + laplacians * 3 * m + 7 * m + 3 * 18)


def clock(folder):
    """GHz, from a chain of dependent additions, one a cycle."""
    source, program = os.path.join(folder, "clock.c"), os.path.join(folder, "clock")
    with open(source, "w") as file:
        file.write(
            "#include <stdio.h>\n#include <time.h>\nint main(){double best=0;for(int r=0;r<20;r++){struct timespec a,b;"
            "clock_gettime(CLOCK_MONOTONIC,&a);unsigned long x=0;for(long i=0;i<5000000;i++)"
            '__asm__ volatile("add $1,%0\\nadd $1,%0\\nadd $1,%0\\nadd $1,%0":"+r"(x));clock_gettime(CLOCK_MONOTONIC,&b);'
            "double s=b.tv_sec-a.tv_sec+1e-9*(b.tv_nsec-a.tv_nsec),g=2e7/s*1e-9;if(g>best)best=g;}printf(\"%f\",best);}"
        )
    subprocess.run(["gcc", "-O2", source, "-o", program], check=True)
    return float(subprocess.run([program], check=True, capture_output=True, text=True).stdout)


def prototype(path, folder, flags):
    library = os.path.join(folder, f"k{len(flags)}.so")
    subprocess.run(["g++", "-O3", "-march=native", *flags, "-shared", "-fPIC", path, "-o", library], check=True)
    layer = ctypes.CDLL(library).layer
    layer.restype = ctypes.c_long
    at, real = lambda x: x.ctypes.data_as(ctypes.c_void_p), ctypes.c_double

    def run(w, b, q, cot, g, warm, out):
        (d, n), m = w.shape, b.shape[1]
        given = [at(v) for v in (w, b, q, g)]
        layer(d, n, m, *given, real(EPSILON), real(TOL), int(warm), 1, at(cot), *[at(v) for v in out], 40)

    return run


def ott():
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp
    from ott.tools import soft_sort

    def value(w, q, b, cot):
        row = lambda w, q, b: soft_sort.quantile_normalization(w, q, b, epsilon=EPSILON)
        return jnp.sum(jax.vmap(row)(w, q, b) * cot)

    grad = jax.jit(jax.value_and_grad(value, argnums=(0, 1)))
    return lambda w, b, q, cot: jax.block_until_ready(grad(w, q, b, cot))


def torch_layer(newton):
    import torch

    torch.set_num_threads(1)

    def run(w, b, q, cot):
        w, b, q, cot = (torch.tensor(v, requires_grad=v is not cot) for v in (w, b, q, cot))
        z = (w - w.mean(1, keepdim=True)) / w.std(1, keepdim=True, unbiased=False)
        x, m = torch.sigmoid(z * np.pi / np.sqrt(3)), b.shape[1]
        y = torch.linspace(0, 1, m, dtype=x.dtype)
        cost = (x[:, :, None] - y) ** 2
        if newton:
            with torch.no_grad():
                at = (b.cumsum(1)[:, :-1] * x.shape[1]).long().clamp(max=x.shape[1] - 1)
                t = x.sort(1).values.gather(1, at)
                rise = (t - y[1:]) ** 2 - (t - y[:-1]) ** 2
                g = torch.cat([torch.zeros_like(t[:, :1]), rise.cumsum(1)], 1)
            for _ in range(4):
                p = torch.softmax((g[:, None] - cost) / EPSILON, 2)
                s = p.mean(1)
                a = torch.diag_embed(s) - p.transpose(1, 2) @ p / x.shape[1]
                step = torch.linalg.solve(a[:, :-1, :-1] + 1e-14 * torch.eye(m - 1), (b - s)[:, :-1])
                g = g + EPSILON * torch.nn.functional.pad(step, (0, 1))
        else:
            f, e = torch.zeros_like(x), 0.1
            for _ in range(100):
                g = e * b.log() - e * torch.logsumexp((f[:, :, None] - cost) / e, 1)
                f = -e * np.log(x.shape[1]) - e * torch.logsumexp((g[:, None] - cost) / e, 2)
                e = max(0.95 * e, EPSILON)
        weights = torch.softmax((g[:, None] - cost) / EPSILON, 2)
        ((weights * q[:, None]).sum(2) * cot).sum().backward()

    return run


def main():
    parser = argparse.ArgumentParser()
    shared = os.environ.get("UNBRAID_SHARED", "shared")
    parser.add_argument("--prototype", default=os.path.join(shared, "prototypes/qmf/k.cpp"))
    parser.add_argument("--peers", nargs="*", default=["prototype", "ott", "newton", "unrolled"])
    parser.add_argument("--sizes", nargs="*", default=["x".join(map(str, s)) for s in SIZES])
    parser.add_argument("--slow", type=int, default=64 * 1000 * 16, help="d n m from which on torch is left out")
    parser.add_argument("--program", help="the built example; else cargo builds and finds it")
    parser.add_argument("--seconds", type=float, default=1.0, help="rough time for each layer and size")
    arguments = parser.parse_args()
    program = arguments.program
    if not program:
        build = ["cargo", "build", "--release", "-q", "-p", "unbraid", "--example", "soft_layer"]
        subprocess.run(build, check=True)
        program = "target/release/examples/soft_layer"
    with tempfile.TemporaryDirectory() as folder:
        compiled, batched = {}, {}
        for name, make in {
            "prototype": lambda: prototype(arguments.prototype, folder, []),
            "prototype_fast_math": lambda: prototype(arguments.prototype, folder, ["-ffast-math"]),
            "ott": ott,
            "newton": lambda: torch_layer(True),
            "unrolled": lambda: torch_layer(False),
        }.items():
            if name.split("_")[0] in arguments.peers:
                try:
                    (compiled if name.startswith("prototype") else batched)[name] = make()
                except (ImportError, subprocess.CalledProcessError) as error:
                    print(f"# {name}: {error}")
        ghz = clock(folder)
        print(json.dumps({"ghz": round(ghz, 2)}), flush=True)
        for size in arguments.sizes:
            d, n, m = map(int, size.split("x"))
            w, moved, b, q, cot = case(d, n, m)
            file = os.path.join(folder, "inputs.f64")
            np.concatenate([v.ravel() for v in (w, moved, b, q, cot)]).tofile(file)
            repeats = int(np.clip(arguments.seconds * 5e6 / (d * n * m / 2), 5, 200 * arguments.seconds))
            row = {"d": d, "n": n, "m": m}
            command = [program, file, str(d), str(n), str(m), "2", str(repeats)]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            for start in ("cold", "warm", "control"):
                one, two = (np.array(times) for times in found[f"{start}_ms"])
                # Ratio of the shortest times, and the median of the ratios of neighbouring calls.
                row[f"{start}_two_threads"] = [round(float(v), 2) for v in (one.min() / two.min(), np.median(one / two))]
                if start != "control":
                    row[f"{start}_1"], row[f"{start}_2"] = brief(one), brief(two)
                    row[f"{start}_steps"] = found[f"{start}_steps"]
            out = [np.zeros(s) for s in ((d, n), (d, n), (d, m), (d, m))]
            for name, run in compiled.items():
                stored = np.zeros((d, m))
                run(w, b, q, cot, stored, False, out)
                for start, x in (("cold", w), ("warm", moved)):
                    call = lambda: run(x, b, q, cot, stored.copy(), start == "warm", out)
                    row[f"{name}_{start}"] = brief(timed(call, repeats))
                    row[f"{name}_{start}_ratio"] = round(row[f"{name}_{start}"][0] / row[f"{start}_1"][0], 2)
            for name, run in batched.items():
                if name != "ott" and d * n * m > arguments.slow:
                    continue
                run(w, b, q, cot)
                row[name] = brief(timed(lambda: run(w, b, q, cot), 3))
                row[f"{name}_ratio"] = round(row[name][0] / row["cold_1"][0], 1)
            cycles = row["cold_1"][0] * 1e6 / (d * n) * ghz
            # Two fused multiply-adds of whole vectors a cycle; one Laplacian at the least.
            floor = flops(n, m, row["cold_steps"], 1) / n / (2 * WIDTH)
            row |= {"cycles_per_entry": round(cycles, 1), "floor_cycles": round(floor, 1)}
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
