"""Writes small files with every slot, encoding and older form of AnnData beside itself.

Run with anndata 0.12, h5py 3 and NumPy 2; see README.md for the versions used.
"""
import warnings
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

warnings.simplefilter("ignore")
ad.settings.allow_write_nullable_strings = True
here = Path(__file__).parent
n, m = 7, 5
i, j = np.indices((n, m))
x = np.where((i + 2 * j) % 3 == 0, i + j + 1, 0)


def table(rows, prefix):
    k = np.arange(rows)
    return pd.DataFrame(
        {
            "float": k / 4,
            "float32": (k / 4).astype("f4"),
            "int": k - 2,
            "uint8": k.astype("u1"),
            "bool": k % 2 == 0,
            "text": [f"é{v}" for v in k],
            "label": pd.Categorical.from_codes(np.where(k % 4 == 3, -1, k % 3), ["β", "a b", "<c>"]),
            "ordered": pd.Categorical.from_codes(k % 2, ["low", "high"], ordered=True),
            "years": pd.Categorical.from_codes(k % 2, [1999, 2024]),
            "int_na": pd.array([None if v == 1 else v for v in k], dtype="Int32"),
            "bool_na": pd.array([None if v == 2 else bool(v % 2) for v in k], dtype="boolean"),
            "text_na": pd.array([None if v == 3 else f"t{v}" for v in k], dtype="string"),
        },
        index=[f"{prefix}{v}" for v in k],
    )


def zoo():
    a = ad.AnnData(sp.csr_matrix(x.astype("f4")), obs=table(n, "cell"), var=table(m, "gène"))
    a.raw = ad.AnnData(sp.csr_matrix(np.arange(n * (m + 2)).reshape(n, m + 2).astype("f8")), obs=a.obs, var=table(m + 2, "raw"))
    a.layers.update(
        csc=sp.csc_matrix(x.astype("i8")),
        counts=x.astype("u2"),
        dense32=np.asfortranarray(x / 3).astype("f4"),
        half=x.astype("f2"),
        big_endian=(x / 7).astype(">f8"),
        empty_csr=sp.csr_matrix((n, m)),
        flags=x > 3,
    )
    a.obsm.update(
        X_pca=np.arange(n * 2).reshape(n, 2) / 2,
        sparse=sp.csr_matrix(np.eye(n, 3)),
        frame=pd.DataFrame({"u": np.arange(n), "v": list("abcdefg")}, index=a.obs_names),
        none=np.zeros((n, 0)),
    )
    a.varm["PCs"] = np.arange(m * 2).reshape(m, 2).astype("f4")
    a.obsp["distances"] = sp.csr_matrix(np.diag(np.arange(n)).astype("f8"))
    a.obsp["dense"] = np.eye(n)
    a.varp["corr"] = sp.csc_matrix(np.eye(m))
    a.uns.update(
        scalar_int=3, scalar_float=2.5, scalar_bool=True, text="naïve", empty_text="",
        none=None,
        texts=np.array(["a", "ü", ""], dtype=object),
        texts_2d=np.array([["a", "b"], ["c", "d"]], dtype=object),
        nothing=np.array([]), no_texts=np.array([], dtype=object),
        cube=np.arange(24).reshape(2, 3, 4).astype("i2"),
        nested={"deep": {"deeper": {"value": 1, "empty": {}}}, "matrix": sp.csr_matrix(np.eye(3))},
        frame=pd.DataFrame({"study": pd.Categorical(["s1", "s2"]), "features": [3, 4]}),
        records=np.rec.fromarrays([["x", "yz"], [1.5, 2.5], [1, 2]], names=["name", "score", "rank"]),
        label=pd.Categorical(["u", "v", "u"]),
        **{"spaces and <tags>": 1},
    )
    return a


if __name__ == "__main__":
    a = zoo()
    a.write_h5ad(here / "zoo.h5ad", compression="gzip", convert_strings_to_categoricals=False)
    # Awkward arrays need a package of their own; this is the form in which anndata stores them.
    ad.AnnData(x.astype("f4")).write_h5ad(here / "awkward.h5ad")
    with h5py.File(here / "awkward.h5ad", "a") as f:
        g = f["obsm"].create_group("awkward")
        g.attrs.update({
            "encoding-type": "awkward-array", "encoding-version": "0.1.0", "length": n,
            "form": '{"class":"NumpyArray","primitive":"int64","inner_shape":[],"parameters":{},"form_key":"node0"}',
        })
        d = g.create_dataset("node0-data", data=np.arange(n))
        d.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    small = ad.AnnData(x.astype("f8"), obs=a.obs[["label", "int"]], var=a.var[["float"]])
    small.write_h5ad(here / "lzf.h5ad", compression="lzf")
    empty = ad.AnnData(np.zeros((0, m), "f4"), var=pd.DataFrame(index=a.var_names))
    empty.write_h5ad(here / "empty.h5ad")
    # The form of AnnData 0.6: tables and arrays as records, labels as codes, no encodings.
    with h5py.File(here / "records.h5ad", "w") as f:
        f["X"] = x.astype("f4")
        f["obs"] = np.array([(f"c{k}".encode(), k / 2, k % 2) for k in range(n)], [("index", "S8"), ("size", "<f4"), ("kind", "i1")])
        f["var"] = np.array([(f"g{k}".encode(), k > 1) for k in range(m)], [("index", "S8"), ("keep", "?")])
        f["obsm"] = np.array([(np.arange(3) + k,) for k in range(n)], [("X_pca", "<f8", (3,))])
        f["uns/kind_categories"] = np.array([b"one", b"two"])
        f["uns/n"] = np.array([4])
        g = f.create_group("raw.X")
        g.attrs.update({"h5sparse_format": "csr", "h5sparse_shape": (n, m)})
        s = sp.csr_matrix(x.astype("f4"))
        g["data"], g["indices"], g["indptr"] = s.data, s.indices, s.indptr
        f["raw.var"] = np.array([(f"g{k}".encode(),) for k in range(m)], [("index", "S8")])
    # The form of AnnData 0.7: categories beside the table, linked from an attribute.
    with h5py.File(here / "categories.h5ad", "w") as f:
        f["X"] = x.astype("f4")
        for name, rows in (("obs", n), ("var", m)):
            g = f.create_group(name)
            g.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.1.0", "_index": "_index"})
            g.attrs["column-order"] = np.array(["kind"], dtype=h5py.string_dtype())
            g.create_dataset("_index", data=[f"{name}{k}" for k in range(rows)], dtype=h5py.string_dtype())
            g["__categories/kind"] = np.array(["one", "two"], dtype=h5py.string_dtype())
            g["__categories/kind"].attrs["ordered"] = True
            g["kind"] = (np.arange(rows) % 3 - 1).astype("i1")
            g["kind"].attrs["categories"] = g["__categories/kind"].ref
    # An array of terabytes, none of it stored, and gzip chunks that inflate a thousandfold.
    ad.AnnData(x.astype("f8")).write_h5ad(here / "huge.h5ad")
    with h5py.File(here / "huge.h5ad", "a") as f:
        del f["X"]
        f.create_dataset("X", shape=(3 * 2**40, 1), dtype="f8", chunks=(1024, 1))
    ad.AnnData(sp.csr_matrix((4000, 2000), dtype="f4")).write_h5ad(here / "zeros.h5ad")
    with h5py.File(here / "zeros.h5ad", "a") as f:
        del f["X"]
        f.create_dataset("X", data=np.zeros((4000, 2000), "f4"), chunks=(4000, 200), compression="gzip", compression_opts=9)
