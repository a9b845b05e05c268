"""Runs the built program on a matrix and reads its networks back."""
import json
import pathlib
import subprocess
import tempfile

import anndata
import numpy as np

PROGRAM = pathlib.Path(__file__).resolve().parents[2] / "target" / "release" / "unbraid"


def fit(method, x, *settings, threads=None):
    """(row precision, column precision, report of --json) with every entry kept."""
    with tempfile.TemporaryDirectory() as folder:
        data, out = f"{folder}/x.npy", f"{folder}/fit.h5ad"
        np.save(data, x)
        command = [PROGRAM, "fit", method, data, "-o", out, "--json", "--set", "keep=dense"]
        for setting in settings:
            command += ["--set", setting]
        if threads:
            command += ["--threads", str(threads)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        fitted = anndata.read_h5ad(out)
        key = f"{method}_precision"
        return np.asarray(fitted.obsp[key]), np.asarray(fitted.varp[key]), json.loads(done.stdout)
