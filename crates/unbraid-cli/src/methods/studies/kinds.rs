//! The methods for studies.

use unbraid::methods::multistudy::coder::Coder;
use unbraid::methods::multistudy::concerns;
use unbraid::methods::multistudy::each::{SvaeMerge, SvaeMergeFit};
use unbraid::methods::multistudy::likelihood::Law;
use unbraid::methods::multistudy::linear::{Msfa, MsfaFit};
use unbraid::methods::multistudy::mssvae::{Mssvae, MssvaeFit};

use super::{Found, OfStudies};

const NEXT: &str =
    "`unbraid enrich OUTPUT --gmt SETS.gmt`; for simulated data, `unbraid evaluate factors OUTPUT`";

impl OfStudies for Mssvae {
    const ABOUT: &'static str =
        "MSSVAE: factors shared by several studies and factors of one study, each of a few features";
    const WORDS: [&'static str; 2] = ["epochs", "loss"];
    const CODER: bool = true;
    const NEXT: &'static str = NEXT;
    fn law(&self) -> Option<Law> {
        Some(self.likelihood)
    }
    fn marks(&self) -> Vec<(usize, String)> {
        concerns::stages(self).into_iter().map(|(epoch, lambda)| (epoch, format!("λ₀ = {lambda}"))).collect()
    }
    fn found(fit: &MssvaeFit) -> Found<'_> {
        Found {
            mask: fit.mask(),
            codes: fit.codes(),
            owners: fit.owners(),
            studies: &fit.studies,
            threshold: fit.threshold,
            objective: &fit.objective,
            stop: fit.stop,
            promoted: fit.promoted,
            anchors: fit.anchors.as_ref(),
        }
    }
    fn coder(fit: &MssvaeFit) -> Option<Coder> {
        Some(Coder::new(&fit.network, &fit.parts))
    }
}

impl OfStudies for SvaeMerge {
    const ABOUT: &'static str =
        "One sparse autoencoder per study, equal columns merged: what MSSVAE is compared with";
    const WORDS: [&'static str; 2] = ["epochs", "loss"];
    const CODER: bool = false;
    const UNREAD: &'static [&'static str] = &["merge", "promote", "anchors"];
    const NEXT: &'static str = NEXT;
    fn law(&self) -> Option<Law> {
        Some(self.0.likelihood)
    }
    fn found(fit: &SvaeMergeFit) -> Found<'_> {
        Found {
            mask: fit.mask(),
            codes: fit.codes(),
            owners: fit.owners(),
            studies: &fit.studies,
            threshold: fit.threshold,
            objective: &fit.objective,
            stop: fit.stop,
            promoted: 0,
            anchors: None,
        }
    }
}

impl OfStudies for Msfa {
    const ABOUT: &'static str =
        "Linear factors shared by several studies and of one study, by maximum likelihood and varimax";
    const WORDS: [&'static str; 2] = ["steps", "negative log likelihood"];
    const CODER: bool = false;
    const NEXT: &'static str = "`unbraid enrich OUTPUT --gmt SETS.gmt --set scale=max --set threshold=0.3`; for simulated data, \
        `unbraid evaluate factors OUTPUT --set scale=max --set threshold=0.3`";
    fn law(&self) -> Option<Law> {
        None
    }
    fn found(fit: &MsfaFit) -> Found<'_> {
        Found {
            mask: fit.mask(),
            codes: fit.codes.clone(),
            owners: fit.owners(),
            studies: &fit.studies,
            // What is no member is 0 in the mask.
            threshold: 0.0,
            objective: &fit.objective,
            stop: fit.stop,
            promoted: 0,
            anchors: None,
        }
    }
}
