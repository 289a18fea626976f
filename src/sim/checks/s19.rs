//! S19: nothing is done on stale data: within an era the accepted revision never goes back, whatever the API server shows.

use std::collections::BTreeMap;

use base::RingId;

use super::Check;
use crate::{fact::Fact, queue::Time, truth::Truth};

/// Number of an acceptance, and generations by uid.
type Accepted = (u64, Vec<(String, i64)>);

#[derive(Debug, Default)]
pub(super) struct S19 {
    /// Generations by object, as a member last said them in this era, with the number of the acceptance.
    accepted: BTreeMap<base::NodeId, (RingId, Accepted)>,
}

impl Check for S19 {
    const ID: &'static str = "S19";

    //= SAFETY.md#S19
    fn observe(&mut self, _at: Time, fact: &Fact, _truth: &Truth) -> Result<(), String> {
        let Fact::Claims { node, era: Some(era), accepted, .. } = fact else { return Ok(()) };
        let before = self.accepted.insert(*node, (*era, accepted.clone()));
        // an object that was gone in between may be there again as it was: a server that goes back behind a deletion
        // cannot be told from one that undoes it
        let next = |number: u64| number == accepted.0 || number + 1 == accepted.0;
        let same_era = before.filter(|(before, (number, _))| before == era && next(*number));
        let Some((same, (_, before))) = same_era else { return Ok(()) };
        for (uid, generation) in &before {
            let now = accepted.1.iter().find(|(other, _)| other == uid);
            if let Some((_, now)) = now.filter(|(_, now)| now < generation) {
                return Err(format!(
                    "{node} goes back from generation {generation} of {uid} to {now} in {same}"
                ));
            }
        }
        Ok(())
    }
}
