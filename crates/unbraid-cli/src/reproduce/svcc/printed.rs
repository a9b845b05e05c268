//! Figures that others print or measured, in percent.

/// One printed row: table, source, method, accuracy as printed, NMI.
pub type Printed = (&'static str, &'static str, &'static str, f64, Option<f64>);

/// Accuracy as printed is purity in some of these sources, with more clusters than classes: it cannot be told from the papers.
pub const PRINTED: [Printed; 24] = [
    ("yale32", "authors' page", "DeepCC", 53.3, Some(55.7)),
    ("yale32", "authors' page", "SRVCC", 58.1, Some(61.0)),
    ("webkb_wisconsin", "authors' page", "DeepCC", 77.4, Some(46.7)),
    ("webkb_wisconsin", "authors' page", "SRVCC", 81.6, Some(51.5)),
    ("webkb4", "replication of DeepCC", "DeepCC", 50.4, Some(13.0)),
    ("webkb4", "replication of DeepCC", "with sparse autoencoders", 53.7, Some(22.0)),
    ("yale32", "replication of DeepCC", "DeepCC", 44.1, Some(41.0)),
    ("classic3", "coclust", "CoclustInfo", 98.64, Some(93.07)),
    ("cstr", "OPNMTF, means of 100 runs", "NBVD", 86.0, Some(78.0)),
    ("cstr", "OPNMTF, means of 100 runs", "ONM3F", 84.0, Some(76.0)),
    ("cstr", "OPNMTF, means of 100 runs", "ONMTF", 90.0, Some(78.0)),
    ("cstr", "OPNMTF, means of 100 runs", "DNMTF", 85.0, Some(80.0)),
    ("cstr", "OPNMTF, means of 100 runs", "PNMTF", 78.0, Some(69.0)),
    ("cstr", "OPNMTF, means of 100 runs", "OPNMTF", 93.0, Some(85.0)),
    ("classic3", "OPNMTF, means of 100 runs", "NBVD", 90.0, Some(76.0)),
    ("classic3", "OPNMTF, means of 100 runs", "ONM3F", 93.0, Some(80.0)),
    ("classic3", "OPNMTF, means of 100 runs", "ONMTF", 73.0, Some(60.0)),
    ("classic3", "OPNMTF, means of 100 runs", "OPNMTF", 93.0, Some(81.0)),
    ("webace", "OPNMTF, means of 100 runs", "OPNMTF", 33.0, Some(79.0)),
    ("webace", "OPNMTF, means of 100 runs", "ODNMTF", 39.0, Some(77.0)),
    ("cstr", "sparse latent block model", "Poisson", 66.0, None),
    ("cstr", "sparse latent block model", "Poisson, sparse", 82.5, None),
    ("classic3", "sparse latent block model", "Poisson", 94.9, None),
    ("classic3", "sparse latent block model", "Poisson, sparse", 97.7, None),
];

/// NMI of rows that coclust and scikit-learn gave once: table, method, NMI.
pub const MEASURED: [(&str, &str, f64); 15] = [
    ("planted_p", "ITCC", 0.920),
    ("planted_o", "ITCC", 0.735),
    ("cstr", "ITCC", 0.748),
    ("digits", "ITCC", 0.644),
    ("webkb_wisconsin", "ITCC", 0.429),
    ("yale32", "ITCC", 0.509),
    ("classic3", "ITCC", 0.934),
    ("webace", "ITCC", 0.591),
    ("planted_p", "spectral", 0.727),
    ("planted_o", "spectral", 0.477),
    ("cstr", "spectral", 0.692),
    ("digits", "spectral", 0.530),
    ("webkb_wisconsin", "spectral", 0.446),
    ("yale32", "spectral", 0.446),
    ("classic3", "spectral", 0.910),
];
