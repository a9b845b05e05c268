//! Every command explains itself.

use crate::{METHODS, Work, counts};
use unbraid::data::Matrix;

#[test]
fn every_command_has_help_with_an_example() {
    let work = Work::new();
    let methods = METHODS.map(|m| [format!("fit {m} "), format!("stability {m} ")]).concat();
    let others = [
        "",
        "demo ",
        "inspect ",
        "simulate ",
        "simulate kronecker ",
        "simulate quantile ",
        "simulate multistudy ",
        "simulate multistudy-rna ",
        "simulate msrt ",
        "simulate blocks ",
        "fit ",
        "fit mssvae ",
        "fit svae-merge ",
        "fit msfa ",
        "fit svcc ",
        "fit itcc ",
        "fit spectral-coclustering ",
        "fit lbm ",
        "fit nmtf ",
        "fit kmeans ",
        "fit popari ",
        "fit batchblend ",
        "stability ",
        "evaluate ",
        "evaluate network ",
        "evaluate factors ",
        "evaluate coclusters ",
        "survival ",
        "enrich ",
        "reproduce ",
        "reproduce medmagma ",
        "reproduce qmf ",
    ]
    .map(String::from);
    for line in methods.iter().chain(&others) {
        let long = work.ok(&format!("{line}--help"));
        assert!(long.err.is_empty());
        let name = line.trim();
        assert!(long.out.contains(&format!("Example:\n  unbraid {name}")), "{line}: {}", long.out);
        assert!(long.out.contains("--version"), "{line}");
        assert!(work.ok(&format!("{line}-h")).out.contains("Usage: unbraid"), "{line}");
    }
    assert_eq!(work.ok("--version").out.trim(), format!("unbraid {}", env!("CARGO_PKG_VERSION")));
    let fit = work.ok("fit --help").out;
    assert!(METHODS.iter().all(|m| fit.contains(&format!("\n  {m}"))), "{fit}");
    for line in ["", "fit", "simulate", "stability", "evaluate", "reproduce"] {
        let ran = work.run(line);
        assert_eq!(ran.code, 2, "`unbraid {line}` says what is missing");
        assert!(ran.err.contains("Usage: unbraid"), "{}", ran.err);
    }
    assert!(work.files().is_empty(), "help writes nothing");
}

#[test]
fn every_parameter_is_listed_with_its_default_and_the_example_runs() {
    let work = Work::new();
    work.h5ad("cells.h5ad", Matrix::Dense(counts(30, 24)));
    for method in METHODS {
        let help = work.ok(&format!("fit {method} --help")).out;
        let ran = work.ok(&format!("fit {method} cells.h5ad -o fit.h5ad --json"));
        let fit: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        let params = fit["params"].as_object().unwrap();
        assert!(params.len() > 3);
        for (name, value) in params {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            assert!(help.contains(&format!("\n  {name} [{value}]\n      ")), "{method}: {name}={value}");
        }
        let example = help.split("Example:\n  unbraid ").nth(1).unwrap();
        work.ok(example.lines().next().unwrap());
        assert!(work.path("cells.html").exists(), "the example writes its page");
    }
    let design = work.ok("simulate kronecker --help").out;
    for name in ["observations", "features", "edges", "sign", "family", "noise"] {
        assert!(design.contains(&format!("\n  {name} [")), "{name}");
    }
    work.ok("simulate kronecker -o truth.h5ad --seed 1 --set noise=0.5");
    let suite = work.ok("evaluate network --help").out;
    for name in ["parts [usual]", "neighbours [auto]", "resolutions [0.1:2:12]", "repeats [10]"] {
        assert!(suite.contains(&format!("\n  {name}\n      ")), "{name}");
    }
}
