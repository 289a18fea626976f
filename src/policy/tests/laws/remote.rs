//! Laws of nodes that are reached by a connection.

use policy::{Error, Plan, check, schedule};

use crate::{
    apply::apply,
    generate::{Mood, model_with_remote},
};

/// The plan, unless it would need what is refused by name.
fn planned(model: &policy::Model) -> Result<Option<Plan>, String> {
    match schedule(model) {
        Ok(plan) => Ok(Some(plan)),
        Err(Error::Unsupported(_)) => Ok(None),
        Err(error) => Err(format!("no plan: {error}")),
    }
}

pub(crate) fn connection_first(bytes: &[u8]) -> Result<(), String> {
    let model = model_with_remote(bytes, Mood::Wild);
    let Some(plan) = planned(&model)? else { return Ok(()) };
    match check::check(&model, &plan).first() {
        None => Ok(()),
        Some(violation) => Err(format!("{violation:?}\n{model:#?}\n{plan:#?}")),
    }
}

pub(crate) fn calm_comes_to_rest(bytes: &[u8]) -> Result<(), String> {
    let mut model = model_with_remote(bytes, Mood::Calm);
    for _ in 0..6 {
        let Some(plan) = planned(&model)? else { return Ok(()) };
        if plan.actions.is_empty() {
            return Ok(());
        }
        model = apply(&model, &plan);
    }
    Err(format!("it goes on: {:?}", planned(&model)?.map(|plan| plan.actions)))
}
