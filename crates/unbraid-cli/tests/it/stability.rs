//! `unbraid stability` from outside: slots, bounds, errors, kills.

use std::process::Stdio;
use std::time::{Duration, Instant};

use unbraid_io::h5ad::{Elem, Numbers};

use crate::{METHODS, Work, assert_finite, dense, dict, floats, text};

#[test]
fn every_method_writes_frequencies_and_a_graph_for_scanpy() {
    let work = Work::with_data();
    for method in METHODS {
        let line = format!(
            "stability {method} data.h5ad -o {method}.h5ad --report {method}.html --refits 10 --threshold 0.7 --edges per-vertex:1 --seed 5 --json"
        );
        let ran = work.ok(&line);
        assert!(ran.err.is_empty(), "{}", ran.err);
        let said: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(
            (&said["method"], &said["refits"], &said["stop"]),
            (&method.into(), &10.into(), &"converged".into())
        );
        assert_eq!(said["params"]["edges"], "per-vertex:1");
        assert!(said["params"].get("keep").is_none());
        let out = work.read(&format!("{method}.h5ad"));
        assert_finite(&work.path(&format!("{method}.h5ad")));
        let axes: &[(&str, &str, usize)] = match method {
            "tyler" => &[("var", "features", 24)],
            _ => &[("obs", "observations", 30), ("var", "features", 24)],
        };
        let notes = dict(&out.uns, &format!("{method}_stability"));
        assert_eq!(text(dict(notes, "params"), "edges"), "per-vertex:1");
        assert_eq!(text(notes, "method"), method);
        assert_eq!(notes["seed"], Elem::scalar(Numbers::I64(vec![5])));
        for ((axis, name, d), network) in axes.iter().zip(said["networks"].as_array().unwrap()) {
            let pairs = if *axis == "obs" { &out.obsp } else { &out.varp };
            let shares = dense(&pairs[&format!("{method}_stability")]);
            let stable = dense(&pairs[&format!("{method}_stable_connectivities")]);
            assert_eq!((shares.dim(), stable.dim()), ((*d, *d), (*d, *d)));
            assert!(shares == shares.t() && shares.diag().iter().all(|v| *v == 0.0));
            assert!(shares.iter().all(|v| (10.0 * v).fract() == 0.0 && (0.0..=1.0).contains(v)));
            assert!((shares.sum() / 2.0 - *d as f64).abs() < 1e-9, "each refit selects d pairs");
            assert!(stable == shares.mapv(|v| if v >= 0.7 { v } else { 0.0 }));
            let edges = stable.iter().filter(|v| **v > 0.0).count() / 2;
            assert_eq!(
                (&network["axis"], &network["nodes"], &network["edges"]),
                (&(*name).into(), &(*d).into(), &edges.into())
            );
            assert_eq!(network["selected_per_refit"].as_f64(), Some(*d as f64));
            let p = (d * (d - 1) / 2) as f64;
            let general = network["expected_false"]["general"].as_f64().unwrap();
            assert!((general - (d * d) as f64 / p / 0.4).abs() < 1e-9);
            assert!(network["expected_false"]["concave"].as_f64().unwrap() <= general);
            let own = dict(notes, axis);
            assert_eq!(own["stable_edges"], Elem::scalar(Numbers::I64(vec![edges as i64])));
            let Elem::Array(histogram) = &own["histogram"] else { panic!() };
            assert_eq!(
                floats(&histogram.data).iter().sum::<f64>() as usize,
                shares.iter().filter(|v| **v > 0.0).count() / 2
            );
        }
        let neighbours = dict(&out.uns, &format!("{method}_stable_neighbors"));
        assert_eq!(text(neighbours, "connectivities_key"), format!("{method}_stable_connectivities"));
        let page = std::fs::read_to_string(work.path(&format!("{method}.html"))).unwrap();
        assert!(page.contains("Stability of the network of the") && page.contains("expected false, at most"));
        assert!(!page.contains("NaN"));
    }
}

#[test]
fn the_words_say_what_to_report_and_a_fit_stays_beside() {
    let work = Work::with_data();
    work.ok("fit medmagma data.h5ad -o data.h5ad --quiet");
    let before = work.read("data.h5ad");
    let ran = work.ok("stability medmagma data.h5ad -o data.h5ad --refits 20 --set steps=200");
    for part in [
        "stability of medmagma on data.h5ad: 30 observations × 24 features, converged after 20 refits",
        "found in at least 90 % of 20 refits, each of which selects",
        "expected false among them at most",
        "neighbors_key=\"medmagma_stable_neighbors\"",
    ] {
        assert!(ran.out.contains(part), "`{part}` is not in: {}", ran.out);
    }
    let after = work.read("data.h5ad");
    before.obsp.iter().for_each(|(slot, elem)| assert!(after.obsp.get(slot) == Some(elem), "{slot}"));
    assert!(after.uns["medmagma"] == before.uns["medmagma"]);
    work.h5ad("counts.h5ad", unbraid::data::Matrix::Dense(crate::counts(30, 24)));
    // Genes that the preparation leaves out have no edge.
    work.ok("stability gmgm counts.h5ad -o some.h5ad --refits 4 --set genes=variable:12 --quiet");
    let some = work.read("some.h5ad");
    assert_eq!(dense(&some.varp["gmgm_stability"]).dim(), (24, 24));
}

#[test]
fn wrong_usage_is_named() {
    let work = Work::with_data();
    for (more, parts) in [
        ("--refits 7", &["`refits` is 7", "even number from 4"][..]),
        ("--refits 2", &["`refits` is 2"]),
        ("--refits many", &["many"]),
        ("--threshold 0.5", &["`threshold` is 0.5", "above 0.5"]),
        ("--threshold nan", &["`threshold`"]),
        ("--edges dense", &["per-vertex:R"]),
        ("--edges per-vertex:0", &["per-vertex:R"]),
        ("--set keep=top:3", &["`keep` is not read here", "--edges"]),
        ("--set stps=3", &["no parameter `stps`", "Did you mean `steps`?"]),
        ("--set steps=0", &["`steps` is 0"]),
        ("--key a/b", &["must not be empty or hold a `/`"]),
    ] {
        let ran = work.run(&format!("stability medmagma data.h5ad -o out.h5ad {more}"));
        assert_eq!(ran.code, 2, "{more}: {}", ran.err);
        parts.iter().for_each(|part| assert!(ran.err.contains(part), "{more}: {}", ran.err));
        assert!(ran.out.is_empty() && !work.path("out.h5ad").exists());
    }
    work.fails("stability medmagma data.h5ad data2.h5ad -o out.h5ad --join obs", 2, &["reads one table"]);
    work.fails("stability medmagma none.h5ad -o out.h5ad", 3, &["none.h5ad"]);
    work.write("x.csv", "a,b,c\n1,2,3\n3,4,6\n1,2,9\n4,4,5\n");
    work.fails("stability medmagma x.csv -o out.h5ad", 3, &["x.csv: X has shape [4, 3]", "at least 4 × 4"]);
    work.fails(
        "stability medmagma data.h5ad -o out.h5ad --max-memory 20kB",
        3,
        &["needs about", "20.0 kB are allowed"],
    );
    assert!(!work.path("out.h5ad").exists());
}

#[test]
fn a_killed_run_goes_on_to_the_same_bits() {
    let work = Work::new();
    work.ok("simulate kronecker -o data.h5ad --seed 2 --set observations=60 --set features=70");
    let line = "stability medmagma data.h5ad -o out.h5ad --refits 60 --seed 3 --threads 2 --exact --set tol=1e-7 \
                --checkpoint state --checkpoint-every 0 --quiet";
    let begun = Instant::now();
    work.ok(line);
    let time = begun.elapsed();
    let whole = work.slots("out.h5ad", "medmagma_stability");
    std::fs::remove_file(work.path("out.h5ad")).unwrap();
    let mut resumed = 0;
    for kill in 1..=8u32 {
        let mut child = work.command(line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(time.mul_f64(0.06 * f64::from(kill)).max(Duration::from_millis(5)));
        child.kill().unwrap();
        child.wait().unwrap();
        if work.path("out.h5ad").exists() {
            // It was done before it could be killed.
            assert!(work.slots("out.h5ad", "medmagma_stability") == whole, "kill {kill}: other bits");
            std::fs::remove_file(work.path("out.h5ad")).unwrap();
            let _ = std::fs::remove_file(work.path("state"));
            continue;
        }
        resumed += usize::from(work.path("state").exists());
        if kill % 2 == 0 {
            work.ok(line);
            assert!(work.slots("out.h5ad", "medmagma_stability") == whole, "kill {kill}: other bits");
            std::fs::remove_file(work.path("out.h5ad")).unwrap();
        }
    }
    assert!(resumed > 1, "few kills hit the refits: {resumed}");
    // One thread, another batch of the same refits.
    let _ = std::fs::remove_file(work.path("state"));
    work.ok(&line.replace("--threads 2", "--threads 1"));
    assert!(work.slots("out.h5ad", "medmagma_stability") == whole);
    assert_eq!(work.files(), ["data.h5ad", "out.h5ad"]);
}
