//! Bad input and wrong usage: one clear error with the place, the right exit code, and no file harmed.

use ndarray::Array2;
use unbraid::data::{Annotations, Csr, Dataset, Matrix, Table, Values};
use unbraid::error::Result;
use unbraid::fit::{Ctx, Flow, Method, Observer, Seed, Step};
use unbraid::methods::kronecker::med_magma::MedMagma;
use unbraid_io::h5ad::{AnnData, Elem, Frame, Major, Numbers, Sparse, write_anndata};
use unbraid_io::{Input, ReadOptions};

use crate::{METHODS, Work, counts, npy, simulated, table};

const EARLIER: &[u8] = b"an earlier result";

/// A folder with `data.h5ad` and a file `out.h5ad` that no failure may change.
struct Bad(Work);

impl Bad {
    fn new() -> Bad {
        let work = Work::with_data();
        work.write("out.h5ad", EARLIER);
        work.write("page.html", EARLIER);
        Bad(work)
    }

    /// Runs what must fail, with `-o out.h5ad` where no output is given.
    fn fails(&self, line: &str, code: i32, parts: &[&str]) {
        let line = match line.contains(" -o ") || !line.starts_with("fit ") {
            true => line.to_owned(),
            false => format!("{line} -o out.h5ad"),
        };
        let before = self.0.files();
        self.0.fails(&line, code, parts);
        for file in ["out.h5ad", "page.html"] {
            assert_eq!(std::fs::read(self.0.path(file)).unwrap(), EARLIER, "{line}: {file} changed");
        }
        assert_eq!(self.0.files(), before, "{line}: something is left behind");
    }

    fn every_method(&self, more: &str, code: i32, parts: &[&str]) {
        METHODS.iter().for_each(|m| self.fails(&format!("fit {m} {more}"), code, parts));
    }
}

#[test]
fn values_that_are_not_finite_are_located_in_every_format() {
    let bad = Bad::new();
    for (value, word) in [(f64::NAN, "NaN"), (f64::INFINITY, "inf"), (f64::NEG_INFINITY, "-inf")] {
        let mut x = counts(12, 9);
        x[[3, 7]] = value;
        bad.0.h5ad("x.h5ad", Matrix::Dense(x.clone()));
        bad.0.h5ad("sparse.h5ad", Matrix::Sparse(Csr::from_dense(x.view())));
        bad.0.write("x.csv", table(&x, ","));
        bad.0.write("x.npy", npy(&x));
        for file in ["x.h5ad", "sparse.h5ad", "x.csv", "x.npy"] {
            let place = format!("{file}: X holds {word} at row 3, column 7 (counted from 0)");
            let names = ["must be finite", "observation `obs3`, feature `var7`"];
            bad.every_method(file, 3, &[&place, names[0], names[1]]);
        }
    }
    bad.0.write("words.csv", "a,b\n1,2\n3,many\n");
    bad.fails("fit gmgm words.csv", 3, &["words.csv: line 3, column 2: found \"many\"", "must be a number"]);
}

#[test]
fn shapes_that_no_method_can_use_are_refused() {
    let bad = Bad::new();
    for (n, m) in [(0, 5), (5, 0), (0, 0)] {
        bad.0.h5ad("x.h5ad", Matrix::Dense(Array2::zeros((n, m))));
        bad.every_method("x.h5ad", 3, &["x.h5ad: X", &format!("[{n}, {m}]"), "at least 1"]);
    }
    bad.0.h5ad("x.h5ad", Matrix::Dense(simulated(12, 9, 1).slice(ndarray::s![..1, ..]).to_owned()));
    bad.fails("fit medmagma x.h5ad", 3, &["x.h5ad: X", "[1, 9]", "at least 2 × 2"]);
    bad.0.write("x.csv", "");
    bad.fails("fit gmgm x.csv", 3, &["x.csv: the file: found no bytes"]);
    bad.0.write("x.csv", "a,b\n");
    bad.fails("fit gmgm x.csv", 3, &["x.csv: the file: found no numbers"]);
    bad.0.h5ad("x.h5ad", Matrix::Dense(Array2::zeros((6, 5))));
    bad.fails("fit medmagma x.h5ad", 3, &["[6, 0]", "after the filters and the choice of genes"]);
    bad.fails("fit medmagma x.h5ad --set genes=all", 3, &["row 0, 1, 2, 3, 4 and 1 more"]);
    bad.fails("fit gmgm x.h5ad", 3, &["x.h5ad", "all zero"]);
    bad.fails("fit tyler x.h5ad", 3, &["x.h5ad", "other than 0"]);
    bad.fails("fit medmagma x.h5ad --set empty=drop", 3, &["x.h5ad: X has shape [0, 0]", "at least 1 × 1"]);
    // A baseline is defined there, and says what it did.
    let ran = bad.0.ok("fit single-axis x.h5ad -o zero.h5ad");
    assert!(ran.err.contains("warning: All values are zero"), "{}", ran.err);
}

#[test]
fn an_empty_line_is_named_and_can_be_dropped() {
    for axis in [0, 1] {
        let bad = Bad::new();
        let mut x = counts(12, 9);
        x.index_axis_mut(ndarray::Axis(axis), 4).fill(0.0);
        bad.0.h5ad("x.h5ad", Matrix::Dense(x));
        let (line, name) = [("row", "observation `obs4`"), ("column", "feature `var4`")][axis];
        let place = format!("x.h5ad: X: {line} 4 holds no non-zero value");
        // The usual choice of genes leaves an empty one out; an empty cell is refused all the same.
        bad.fails("fit medmagma x.h5ad --set genes=all", 3, &[&place, "`--set empty=drop`", name]);
        match axis {
            0 => bad.fails("fit medmagma x.h5ad", 3, &[&place, "`--set empty=drop`", name]),
            _ => drop(bad.0.ok("fit medmagma x.h5ad -o fit.h5ad")),
        }
        let ran = bad.0.ok("fit medmagma x.h5ad -o fit.h5ad --set genes=all --set empty=drop");
        assert!(
            ran.err.contains(&format!("warning: 1 {line} without a non-zero value was left out")),
            "{}",
            ran.err
        );
        let ran = bad.0.ok("fit gmgm x.h5ad -o fit.h5ad");
        assert!(ran.err.contains("warning: "), "GmGM says that there is nothing to learn: {}", ran.err);
    }
}

#[test]
fn preparation_refuses_what_it_is_not_defined_for() {
    let bad = Bad::new();
    let mut x = counts(12, 9);
    x[[2, 5]] = -3.0;
    bad.0.h5ad("x.h5ad", Matrix::Dense(x));
    for set in ["genes=variable:5", "genes=appendix-f"] {
        let parts = ["x.h5ad: X holds -3 at row 2, column 5", "0 or larger", "feature `var5`"];
        bad.every_method(&format!("x.h5ad --set {set}"), 3, &parts);
    }
    let parts = ["x.h5ad: X holds -3 at row 2, column 5", "larger than -1 for transform=log1p"];
    bad.every_method("x.h5ad --set transform=log1p", 3, &parts);
    bad.every_method(
        "x.h5ad --set genes=most",
        2,
        &["genes=most", "all, variable:N, variance:N, pearson:N, appendix-f"],
    );
    bad.every_method("x.h5ad --set genes=variable:0", 2, &["variable:0", "variable:N"]);
    bad.every_method("x.h5ad --set empty=keep", 2, &["empty=keep", "error, drop"]);
}

#[test]
fn parameters_out_of_range_are_named_with_their_range() {
    let bad = Bad::new();
    for (method, list) in [
        (
            "medmagma",
            &[
                ("steps=0", "at least 1"),
                ("steps=-1", "whole number"),
                ("max_steps=0", "at least 1"),
                ("max_steps=1.5", "whole number"),
                ("ridge=-1", "0 or larger"),
                ("ridge=nan", "finite"),
                ("tol=-1e-3", "0 or larger"),
                ("tol=inf", "finite"),
                ("tol=small", "a number"),
                ("em=maybe", "true or false"),
                ("laplace=maybe", "none, code, paper, logcoord"),
                ("quotient=half", "skip, exact"),
                ("energy=dark", "unit, scales"),
                ("criterion=none", "relative, absolute"),
                ("kernel=pop", "nodes, exact"),
                ("keep=some", "keep"),
                ("keep=top:0", "keep"),
                ("keep=fraction:2", "keep"),
                ("preset=nature", "try `preset=paper`"),
            ][..],
        ),
        (
            "gmgm",
            &[
                ("tol=0", "a positive number"),
                ("prior=-1", "0 or a positive number"),
                ("regularizer=-1", "0 or a positive number"),
                ("lr_init=0", "a positive number"),
                ("damping=1", "less than 1"),
                ("damping=-0.1", "at least 0"),
                ("max_steps=0", "at least 1"),
                ("max_small_steps=0", "at least 1"),
                ("n_comps=25", "n_comps"),
                ("centering=left", "centering"),
                ("nonparanormal=yes", "nonparanormal"),
                ("iid=cells", "iid"),
                ("keep=top:0", "keep"),
                ("preset=nature", "try `preset=paper`"),
            ][..],
        ),
        (
            "single-axis",
            &[
                ("rcond=1", "less than 1"),
                ("rcond=-1", "at least 0"),
                ("keep=top:0", "keep"),
                ("preset=x", "preset"),
            ][..],
        ),
        (
            "tyler",
            &[
                ("tol=0", "a positive number"),
                ("max_steps=0", "at least 1"),
                ("shrinkage=2", "from 0 to 1"),
                ("shrinkage=-1", "from 0 to 1"),
                ("shrinkage=some", "shrinkage"),
                ("axis=both", "axis"),
                ("keep=top:0", "keep"),
                ("preset=x", "preset"),
            ][..],
        ),
    ] {
        for (set, part) in list {
            let (name, _) = set.split_once('=').unwrap();
            bad.fails(&format!("fit {method} data.h5ad --set {set}"), 2, &[name, part]);
        }
    }
    bad.fails("fit medmagma data.h5ad --set stps=2", 2, &["no parameter `stps`", "Did you mean `steps`?"]);
    bad.every_method("data.h5ad --set wingspan=2", 2, &["no parameter `wingspan`", "Known are: ", "genes"]);
    bad.every_method("data.h5ad --set steps", 2, &["`--set steps` has no `=`"]);
    bad.fails("fit medmagma data.h5ad --params none.toml", 2, &["none.toml"]);
    for (toml, part) in
        [("steps = ", "p.toml"), ("[steps]\na = 1\n", "`steps` must be a single value"), ("stps = 3", "stps")]
    {
        bad.0.write("p.toml", toml);
        bad.fails("fit medmagma data.h5ad --params p.toml", 2, &[part]);
    }
    for (set, part) in
        [("features=1", "features"), ("density=0", "density"), ("sign=up", "sign"), ("bees=1", "bees")]
    {
        bad.fails(&format!("simulate kronecker -o new.h5ad --set {set}"), 2, &[part]);
    }
}

#[test]
fn wrong_usage_says_what_is_right() {
    let bad = Bad::new();
    bad.fails("fit medmagna data.h5ad", 2, &["medmagna", "medmagma"]);
    bad.fails("simulate kroneker -o new.h5ad", 2, &["kroneker", "kronecker"]);
    bad.fails("fit medmagma data.h5ad --treads 2", 2, &["--treads", "--threads"]);
    bad.every_method("data.h5ad --key a/b", 2, &["`--key a/b`", "`/`"]);
    bad.every_method("data.h5ad data.h5ad", 2, &["--join obs"]);
    bad.fails("fit medmagma data.h5ad data.h5ad --join obs", 2, &["`medmagma` reads one table"]);
    bad.every_method("data.h5ad --threads 0", 2, &["--threads", "at least 1"]);
    bad.fails("fit gmgm data.h5ad --checkpoint-every=-1", 2, &["--checkpoint-every", "0 or larger"]);
    bad.fails("fit gmgm data.h5ad --max-memory lots", 2, &["--max-memory", "500MB or 4GB"]);
    bad.fails("fit gmgm data.h5ad --seed -1", 2, &["-1"]);
    for (option, file) in [
        ("--report", "data.h5ad"),
        ("--report", "out.h5ad"),
        ("--checkpoint", "data.h5ad"),
        ("--checkpoint", "./out.h5ad"),
    ] {
        bad.fails(
            &format!("fit gmgm data.h5ad {option} {file}"),
            2,
            &[option, "also an input or the output"],
        );
    }
    for more in ["", "--report page.html"] {
        let parts = ["data.h5ad: the label column `kind` in obs is missing", "truth_community"];
        bad.every_method(&format!("data.h5ad --label kind {more}"), 3, &parts);
    }
    let ran = bad.0.ok("fit gmgm data.h5ad -o fit.h5ad --label truth_community");
    assert!(ran.err.contains("warning: --label is used on the page only"), "{}", ran.err);
    bad.every_method("data.h5ad --layer counts", 3, &["data.h5ad: layers[\"counts\"]: found nothing"]);
    bad.0.write("x.csv", table(&counts(12, 9), ","));
    bad.every_method("x.csv --layer counts", 3, &["x.csv: layers[\"counts\"]", "no layers"]);
    bad.every_method("data.h5ad --max-memory 2KB", 3, &["data.h5ad: X", "2.0 kB may be used"]);
    let parts = ["data.h5ad: this fit needs about", "7.0 kB are allowed"];
    bad.every_method("data.h5ad --max-memory 7KB", 3, &parts);
}

/// 6 × 4 with one stored entry in each row.
fn sparse(indptr: Vec<i32>, indices: Vec<i32>) -> AnnData {
    let frame = |prefix: &str, n: usize| {
        let names = (0..n).map(|i| format!("{prefix}{i}")).collect();
        Frame { index: Box::new(Elem::texts(names)), ..Frame::default() }
    };
    let x = Sparse {
        shape: (6, 4),
        major: Major::Row,
        data: Numbers::F64(vec![1.0; indices.len()]),
        indptr: Numbers::I32(indptr),
        indices: Numbers::I32(indices),
    };
    AnnData { x: Some(Elem::Sparse(x)), obs: frame("c", 6), var: frame("g", 4), ..AnnData::default() }
}

#[test]
fn damaged_files_are_refused_with_the_place() {
    let bad = Bad::new();
    let good = vec![0, 1, 2, 3, 4, 5, 6];
    for (indptr, indices, parts) in [
        (good.clone(), vec![0, 1, 2, 9, 0, 1], ["X", "9"]),
        (good.clone(), vec![0, 1, 2, -1, 0, 1], ["X", "-1"]),
        (vec![0, 1, 5, 3, 4, 5, 6], vec![0, 1, 2, 3, 0, 1], ["X", "indptr"]),
        (vec![0, 2, 2, 3, 4, 5, 6], vec![1, 1, 2, 3, 0, 1], ["X", "1"]),
    ] {
        // Where the writer refuses what is broken, there is no such file to read.
        if write_anndata(&bad.0.path("x.h5ad"), &sparse(indptr, indices)).is_ok() {
            bad.every_method("x.h5ad", 3, &["x.h5ad", parts[0], parts[1]]);
            bad.fails("inspect x.h5ad", 3, &["x.h5ad: X"]);
        } else {
            println!("the writer refuses {parts:?}");
        }
    }
    let whole = std::fs::read(bad.0.path("data.h5ad")).unwrap();
    for share in [0.01, 0.3, 0.6, 0.9, 0.99] {
        bad.0.write("x.h5ad", &whole[..(whole.len() as f64 * share) as usize]);
        let ran = bad.0.run("fit gmgm x.h5ad -o cut.h5ad");
        assert_eq!(ran.code, 3, "cut at {share}: {}", ran.err);
        assert!(ran.err.starts_with("error: x.h5ad: ") && !bad.0.path("cut.h5ad").exists(), "{}", ran.err);
    }
    bad.0.write("x.h5ad", "a,b\n1,2\n");
    bad.every_method("x.h5ad", 3, &["x.h5ad: the file: found", "must be a whole HDF5 file"]);
    bad.fails("inspect x.h5ad", 3, &["must be a whole HDF5 file"]);
    bad.0.write("x.csv", "a,b,c\n1,2,3\n4,5\n");
    bad.every_method("x.csv", 3, &["x.csv: line 3: found 2 cells", "has 3"]);
    bad.0.write("x.mtx", "%%MatrixMarket matrix coordinate real general\n3 3 1\n4 1 2.0\n");
    bad.every_method("x.mtx", 3, &["x.mtx"]);
    bad.0.write("x.npy", &npy(&counts(12, 9))[..200]);
    bad.every_method("x.npy", 3, &["x.npy", "cut short"]);
    bad.0.write("x.npz", b"PK\x03\x04 not quite");
    bad.every_method("x.npz", 3, &["x.npz", "whole zip archive"]);
    bad.every_method("none.h5ad", 3, &["none.h5ad: the file", "must exist", "check the path"]);
    bad.fails("inspect none.h5ad", 3, &["none.h5ad"]);
    bad.0.write("x.docx", "words");
    bad.every_method("x.docx", 3, &["x.docx", "unknown format", ".h5ad, .mtx, .csv"]);
    bad.0.write("x10/matrix.mtx", "");
    bad.every_method("x10", 3, &["x10: barcodes.tsv: found nothing"]);
}

#[test]
fn output_that_cannot_be_written_is_refused_before_the_fit() {
    let bad = Bad::new();
    std::fs::create_dir(bad.0.path("folder")).unwrap();
    for (out, part) in [
        ("none/out.h5ad", "the directory none does not exist"),
        ("folder", "it is a directory"),
        ("data.h5ad/x", "does not exist"),
    ] {
        bad.every_method(&format!("data.h5ad -o {out}"), 4, &[&format!("cannot write {out}"), part]);
        for option in ["--report", "--checkpoint"] {
            bad.fails(
                &format!("fit gmgm data.h5ad {option} {out}"),
                4,
                &[&format!("cannot write {out}"), part],
            );
        }
        bad.fails(&format!("simulate kronecker -o {out}"), 4, &[part]);
    }
    bad.fails("demo -o data.h5ad", 4, &["cannot write data.h5ad"]);
    let locked = bad.0.path("locked");
    std::fs::create_dir(&locked).unwrap();
    let mut rights = std::fs::metadata(&locked).unwrap().permissions();
    rights.set_readonly(true);
    std::fs::set_permissions(&locked, rights).unwrap();
    // The superuser may write anywhere.
    if std::fs::write(locked.join("probe"), "").is_err() {
        bad.fails("fit gmgm data.h5ad -o locked/out.h5ad", 4, &["cannot write locked/out.h5ad"]);
    }
}

/// Stops after the first step and keeps the state.
#[derive(Default)]
struct Stop(Vec<u8>);

impl Observer for Stop {
    fn step(&mut self, _: Step, _: usize, _: usize) -> Flow {
        Flow::Stop
    }
    fn snapshot(&mut self, bytes: &[u8]) -> Result<()> {
        self.0 = bytes.to_vec();
        Ok(())
    }
}

#[test]
fn a_checkpoint_of_another_fit_is_refused_with_the_reason() {
    let bad = Bad::new();
    let data = unbraid_io::read(&bad.0.path("data.h5ad"), &ReadOptions::default()).unwrap();
    let mut stop = Stop::default();
    let input = Values { what: "X", matrix: &data.x };
    MedMagma::default().fit(input, &mut Ctx::new(Seed(0), &mut stop)).unwrap();
    let state = stop.0;
    bad.0.h5ad("other.h5ad", Matrix::Dense(simulated(30, 24, 8)));
    let hint = "delete it, or name another checkpoint file";
    for (line, reason) in [
        ("fit medmagma other.h5ad", "on other data"),
        ("fit medmagma data.h5ad --seed 1", "seed 0, not 1"),
        ("fit medmagma data.h5ad --set steps=999", "with other parameters"),
        ("fit medmagma data.h5ad --set preset=paper", "with other parameters"),
        ("fit gmgm data.h5ad", "belongs to method `medmagma`, not `gmgm`"),
    ] {
        bad.0.write("state", &state);
        bad.fails(
            &format!("{line} --checkpoint state"),
            4,
            &["the checkpoint cannot be resumed", reason, hint],
        );
        assert_eq!(std::fs::read(bad.0.path("state")).unwrap(), state, "{line}: the checkpoint is kept");
    }
    let mut flipped = state.clone();
    flipped[state.len() / 2] ^= 1;
    for damaged in [&[][..], b"no checkpoint", &state[..state.len() - 1], &flipped] {
        bad.0.write("state", damaged);
        bad.fails("fit medmagma data.h5ad --checkpoint state", 4, &["damaged or not one of ours", hint]);
    }
    // The right one is taken up, other files on the way or not.
    bad.0.write("state", &state);
    let ran = bad.0.ok("fit medmagma data.h5ad -o fit.h5ad --checkpoint state --json");
    assert!(ran.out.contains("\"resumed\":true"), "{}", ran.out);
}

fn named(work: &Work, file: &str, obs: Vec<String>, var: Vec<String>) {
    let mut data = Dataset::from_matrix(file, Matrix::Dense(counts(obs.len(), var.len())));
    (data.obs, data.var) = (Table::named(obs), Table::named(var));
    unbraid_io::write_h5ad(&work.path(file), Input::Dataset(&data), &Annotations::default()).unwrap();
}

#[test]
fn names_that_occur_twice_are_a_warning_and_an_error_where_they_matter() {
    let bad = Bad::new();
    let names = |prefix: &str, n: usize| -> Vec<String> { (0..n).map(|i| format!("{prefix}{i}")).collect() };
    let (mut cells, mut genes) = (names("c", 12), names("g", 9));
    (cells[5], genes[3]) = ("c1".into(), "g2".into());
    named(&bad.0, "twice.h5ad", cells.clone(), genes.clone());
    named(&bad.0, "once.h5ad", names("c", 12), names("g", 9));
    named(&bad.0, "fewer.h5ad", names("c", 11), names("g", 9));
    named(&bad.0, "others.h5ad", names("d", 12), names("g", 9));
    for method in METHODS {
        let ran = bad.0.ok(&format!("fit {method} twice.h5ad -o fit.h5ad"));
        for part in ["obs holds the name \"c1\" more than once", "var holds the name \"g2\" more than once"] {
            assert!(ran.err.contains(&format!("warning: twice.h5ad: {part}")), "{}", ran.err);
        }
        assert!(!bad.0.ok(&format!("fit {method} once.h5ad -o fit.h5ad")).err.contains("more than once"));
    }
    let said = bad.0.ok("inspect twice.h5ad").out;
    assert!(said.contains("1 names of obs occur more than once, such as \"c1\""), "{said}");
    // Joined tables are matched by name, so there it matters.
    for files in ["once.h5ad twice.h5ad", "twice.h5ad once.h5ad"] {
        let line = format!("fit gmgm {files} --join obs");
        bad.fails(&line, 3, &["twice.h5ad: obs", "each named once"]);
    }
    bad.fails("fit gmgm once.h5ad once.h5ad --join obs", 2, &["once.h5ad is named twice"]);
    bad.fails("fit gmgm once.h5ad fewer.h5ad --join obs", 3, &["fewer.h5ad: obs", "the same observations"]);
    bad.fails("fit gmgm once.h5ad others.h5ad --join obs", 3, &["others.h5ad: observation `c0` is missing"]);
    bad.0.write("twice.csv", "a,b,a\n1,2,3\n4,5,6\n");
    bad.fails("fit gmgm twice.csv", 3, &["twice.csv: line 1, column 3", "names must be unique"]);
}
