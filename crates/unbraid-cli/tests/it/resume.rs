//! Interrupted and killed: the earlier file stays, and the same command goes on to the same bits.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Ran, Work};

/// A small generator, so that the moments are the same in every run of the test.
struct Lcg(u64);

impl Lcg {
    /// A number from 0 to 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

const FIT: &str = "fit medmagma data.h5ad -o out.h5ad --key m --seed 3 --threads 2 --set tol=0 \
                   --set max_steps=12 --checkpoint state --checkpoint-every 0 --quiet";

fn data(work: &Work) {
    work.ok("simulate kronecker -o data.h5ad --seed 2 --set observations=50 --set features=40");
}

fn start(work: &Work, line: &str) -> Child {
    work.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_killed_fit_harms_no_file_and_goes_on_to_the_same_bits() {
    const KILLS: usize = 50;
    let work = Work::new();
    data(&work);
    // What was there before: another fit under the same name.
    work.ok("fit gmgm data.h5ad -o earlier.h5ad --key m");
    let earlier = work.slots("earlier.h5ad", "m");
    work.ok(FIT);
    let begun = Instant::now();
    work.ok(FIT);
    let time = begun.elapsed();
    let whole = work.slots("out.h5ad", "m");
    assert!(!work.path("state").exists(), "the checkpoint of a finished fit is removed");

    let mut draw = Lcg(7);
    let (mut killed, mut resumed, mut finished, mut tries) = (0, 0, 0, 0);
    let reset = |work: &Work| {
        std::fs::copy(work.path("earlier.h5ad"), work.path("out.h5ad")).unwrap();
    };
    reset(&work);
    while killed < KILLS {
        // Half of the moments lie around the end, where the output is written. A run may end before its
        // moment, where the machine is faster now than when the time was taken.
        tries += 1;
        let share = if tries % 2 == 0 { 1.1 * draw.next() } else { 0.8 + 0.3 * draw.next() };
        let mut child = start(&work, FIT);
        std::thread::sleep(time.mul_f64(share));
        child.kill().unwrap();
        let code = child.wait().unwrap().code();
        assert!(code.is_none_or(|c| c == 0), "killed or done, but: {code:?}");
        killed += usize::from(code.is_none());
        let now = work.slots("out.h5ad", "m");
        let done = now == whole;
        assert!(done || now == earlier, "kill {killed}: the output is neither the old nor the new file");
        assert!(code.is_none() || done, "a run that ended well wrote its output");
        if done {
            finished += 1;
            let _ = std::fs::remove_file(work.path("state"));
            reset(&work);
        } else if draw.next() < 0.5 {
            resumed += usize::from(work.path("state").exists());
            work.ok(FIT);
            assert!(work.slots("out.h5ad", "m") == whole, "after kill {killed}: other bits");
            reset(&work);
        }
    }
    work.ok(FIT);
    assert!(work.slots("out.h5ad", "m") == whole);
    assert_eq!(work.files(), ["data.h5ad", "earlier.h5ad", "out.h5ad"], "nothing is left behind");
    println!(
        "{killed} kills in fits of {time:?}: {resumed} completed from a checkpoint, {finished} were done"
    );
    assert!(resumed > 5, "few kills hit the fit: {resumed}");
}

#[cfg(unix)]
#[test]
fn an_interrupt_saves_and_the_same_command_goes_on() {
    let work = Work::new();
    data(&work);
    let line = "fit medmagma data.h5ad -o out.h5ad --set tol=0 --set max_steps=400 --checkpoint state \
                --checkpoint-every 0 --json";
    let interrupt = |line: &str, ready: &dyn Fn() -> bool| -> Ran {
        let child = start(&work, line);
        let begun = Instant::now();
        while !ready() {
            assert!(begun.elapsed() < Duration::from_secs(30), "the fit does not begin");
            std::thread::sleep(Duration::from_millis(2));
        }
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        Ran::from(child.wait_with_output().unwrap())
    };
    let ran = interrupt(line, &|| work.path("state").exists());
    assert_eq!(ran.code, 130, "{}", ran.err);
    assert!(ran.err.contains("the state is in state. Run the same command again"), "{}", ran.err);
    assert!(work.path("state").exists() && !work.path("out.h5ad").exists());
    let ran = work.ok(line);
    let said: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(said["resumed"], true);
    assert_eq!(said["sweeps"], 400);
    assert!(ran.err.contains("did not converge"), "{}", ran.err);
    assert!(!work.path("state").exists());
    let resumed = work.slots("out.h5ad", "medmagma");
    work.ok(&line.replace("out.h5ad", "whole.h5ad").replace("--checkpoint state --checkpoint-every 0", ""));
    assert!(resumed == work.slots("whole.h5ad", "medmagma"), "other bits after an interrupt");

    // Without a checkpoint nothing is written, and the message says so.
    let begun = Instant::now();
    let line = "fit medmagma data.h5ad -o none.h5ad --set tol=0 --set max_steps=100000 --quiet";
    let ran = interrupt(line, &|| begun.elapsed() > Duration::from_millis(400));
    assert_eq!(ran.code, 130, "{}", ran.err);
    assert!(ran.err.contains("nothing was written") && ran.err.contains("--checkpoint"), "{}", ran.err);
    assert!(!work.path("none.h5ad").exists());
}
