//! How well a score orders the events (Harrell et al. 1982).

/// Harrell's C: among pairs in which the earlier time is an event, the share in which its score is the
/// larger one; equal scores count half. Of two equal times, an event comes before a censored one and two
/// events are not compared. ½ where no pair is comparable. O(n log n).
pub fn concordance(score: &[f64], time: &[f64], event: &[bool]) -> f64 {
    let n = score.len().min(time.len()).min(event.len());
    // Adding 0 turns −0 into 0, which the order of all doubles tells apart.
    let unsigned = |v: &[f64]| -> Vec<f64> { v[..n].iter().map(|v| v + 0.0).collect() };
    let (score, time) = (unsigned(score), unsigned(time));
    let mut sorted: Vec<f64> = score.clone();
    sorted.sort_by(f64::total_cmp);
    sorted.dedup();
    let rank = |s: f64| sorted.partition_point(|v| v.total_cmp(&s).is_lt()) + 1;
    // A tree of partial counts over the ranks.
    let mut tree = vec![0u64; sorted.len() + 1];
    let up_to = |tree: &[u64], mut at: usize| {
        let mut sum = 0;
        while at > 0 {
            sum += tree[at];
            at &= at - 1;
        }
        sum
    };
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| time[b].total_cmp(&time[a]).then(event[a].cmp(&event[b])));
    let (mut pairs, mut halves, mut inside) = (0u64, 0u64, 0u64);
    let mut pending: Vec<usize> = Vec::new();
    for (at, &i) in order.iter().enumerate() {
        let r = rank(score[i]);
        if event[i] {
            let (below, same) = (up_to(&tree, r - 1), up_to(&tree, r) - up_to(&tree, r - 1));
            pairs += inside;
            halves += 2 * below + same;
        }
        pending.push(r);
        let next = order.get(at + 1);
        // Events at one time enter together, after all of them have been compared.
        if next.is_none_or(|&j| time[j] != time[i] || !event[i]) {
            for mut r in pending.drain(..) {
                inside += 1;
                while r < tree.len() {
                    tree[r] += 1;
                    r += r & r.wrapping_neg();
                }
            }
        }
    }
    if pairs == 0 { 0.5 } else { halves as f64 / (2 * pairs) as f64 }
}
