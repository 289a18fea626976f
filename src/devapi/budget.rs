//! What an evaluation may cost while it runs.
//!
//! Kubernetes counts units: a call of one rule or expression may come to a million, all of one object or policy to ten. Here only
//! the turns of loops are counted, each for one unit, which is the least that one can cost: what is ended here is ended there,
//! and what goes on here may still be ended there. Without it a short rule over a long list holds a thread for hours.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kube::core::cel::KubeCelExt;
use kube::core::cel::cel::common::ast::{CallExpr, EntryExpr, Expr};
use kube::core::cel::cel::{Context, ExecutionError, IdedExpr, Program, Value as Cel};
use serde_json::Value;

use crate::policies::of_json;
use crate::schema::validate::shown;

/// Units of one call. Kubernetes' own limit.
pub(crate) const CALL_MAX: u64 = 1_000_000;
/// Units of all rules of one object, or of all expressions of one policy. Kubernetes' own limit.
pub(crate) const ALL_MAX: u64 = 10_000_000;
/// As Kubernetes' library says it.
pub(crate) const CALL_SPENT: &str = "operation cancelled: actual cost limit exceeded";
/// As Kubernetes says it.
pub(crate) const ALL_SPENT: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";
/// Nobody can write this name.
const TURN: &str = "a turn";

/// Turns of the loops that a context has evaluated.
#[derive(Clone)]
pub(crate) struct Turns(Arc<AtomicU64>);

impl Turns {
    /// Of expressions that are [`counted`], in this context.
    pub(crate) fn of(context: &mut Context<'_>) -> Self {
        let turns = Self(Arc::new(AtomicU64::new(0)));
        let counter = Arc::clone(&turns.0);
        context.add_function(TURN, move |goes_on: Cel| -> Result<Cel, ExecutionError> {
            if counter.fetch_add(1, Ordering::Relaxed) < CALL_MAX {
                Ok(goes_on)
            } else {
                Err(ExecutionError::function_error(TURN, CALL_SPENT))
            }
        });
        turns
    }

    /// Since this was asked last. Whatever the call came to, it was cut off if this is more than it may cost: `||` and `&&`
    /// take no notice of an error.
    pub(crate) fn take(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

/// The same expression, each turn of whose loops is counted.
pub(crate) fn counted(expression: &IdedExpr) -> IdedExpr {
    let mut counted = expression.clone();
    visit(&mut counted, &mut |expr| {
        if let Expr::Comprehension(inner) = expr {
            let goes_on = std::mem::take(&mut inner.loop_cond);
            let id = goes_on.id;
            let call = CallExpr { func_name: TURN.to_owned(), target: None, args: vec![goes_on] };
            inner.loop_cond = IdedExpr { id, expr: Expr::Call(call) };
        }
    });
    counted
}

/// Innermost first.
fn visit(expression: &mut IdedExpr, f: &mut impl FnMut(&mut Expr)) {
    match &mut expression.expr {
        Expr::Call(call) => {
            call.target.iter_mut().for_each(|target| visit(target, f));
            call.args.iter_mut().for_each(|arg| visit(arg, f));
        }
        Expr::Comprehension(inner) => {
            for part in [
                &mut inner.iter_range,
                &mut inner.accu_init,
                &mut inner.loop_cond,
                &mut inner.loop_step,
                &mut inner.result,
            ] {
                visit(part, f);
            }
        }
        Expr::List(list) => list.elements.iter_mut().for_each(|e| visit(e, f)),
        Expr::Map(map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    visit(&mut entry.key, f);
                    visit(&mut entry.value, f);
                }
            }
        }
        Expr::Select(select) => visit(&mut select.operand, f),
        Expr::Struct(_) | Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => {}
    }
    f(&mut expression.expr);
}

/// Loops of an expression: how many, and how deep in each other.
fn loops(expression: &IdedExpr) -> (u64, u32) {
    fn both(all: (u64, u32), one: (u64, u32)) -> (u64, u32) {
        (all.0 + one.0, all.1.max(one.1))
    }
    fn sum<'a>(parts: impl Iterator<Item = &'a IdedExpr>) -> (u64, u32) {
        parts.map(loops).fold((0, 0), both)
    }
    match &expression.expr {
        Expr::Call(call) => sum(call.args.iter().chain(call.target.as_deref())),
        Expr::Comprehension(inner) => {
            let turn = both(loops(&inner.loop_cond), loops(&inner.loop_step));
            let around = [&inner.iter_range, &inner.accu_init, &inner.result];
            both((turn.0 + 1, turn.1 + 1), sum(around.into_iter()))
        }
        Expr::List(list) => sum(list.elements.iter()),
        Expr::Map(map) => sum(map.entries.iter().flat_map(|entry| match &entry.expr {
            EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
            EntryExpr::StructField(_) => Vec::new(),
        })),
        Expr::Select(select) => loops(&select.operand),
        Expr::Struct(_) | Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => (0, 0),
    }
}

/// Where a rule stands.
#[derive(Clone, Debug)]
enum Step {
    Property(String),
    Each,
}

/// A rule with loops.
struct Looping {
    steps: Vec<Step>,
    /// The type of that place, which stands for its value in what is said.
    kind: String,
    /// What is said of it.
    said: String,
    counted: IdedExpr,
    loops: (u64, u32),
}

/// The rules of one schema that have loops.
#[derive(Default)]
pub(crate) struct Budget(Vec<Looping>);

/// Who spent too much.
#[derive(Debug, PartialEq)]
pub(crate) struct Spent {
    pub(crate) path: String,
    /// The place's type.
    pub(crate) kind: String,
    pub(crate) why: String,
}

impl Budget {
    pub(crate) fn of(schema: &Value) -> Self {
        let mut all = Vec::new();
        collect(schema, &mut Vec::new(), &mut all);
        Self(all)
    }

    /// The first rule that costs an object too much. Only what could is evaluated for it.
    pub(crate) fn spent(&self, object: &Value, old: Option<&Value>) -> Option<Spent> {
        let places: Vec<(&Looping, Place<'_>)> = self
            .0
            .iter()
            .flat_map(|rule| places(&rule.steps, object, old).into_iter().map(move |p| (rule, p)))
            .collect();
        let bound = |(rule, place): &(&Looping, Place<'_>)| {
            let longest = longest(place.now).max(place.old.map_or(0, longest)).max(16) * 4;
            rule.loops.0.saturating_mul(longest.saturating_pow(rule.loops.1))
        };
        let all = places.iter().map(bound).fold(0, u64::saturating_add);
        if all <= ALL_MAX && places.iter().all(|place| bound(place) <= CALL_MAX) {
            return None;
        }
        let mut left = ALL_MAX;
        for (rule, place) in places {
            let mut context = Context::default().with_all();
            let turns = Turns::of(&mut context);
            context.add_variable_from_value("self", of_json(place.now));
            if let Some(old) = place.old {
                context.add_variable_from_value("oldSelf", of_json(old));
            }
            // what it comes to is asked elsewhere
            let _ = context.resolve(&rule.counted);
            let path = if place.path.is_empty() { "<nil>".to_owned() } else { place.path };
            let spent = turns.take();
            let kind = rule.kind.clone();
            if spent > CALL_MAX {
                let why = format!(
                    "'{CALL_SPENT}': no further validation rules will be run due to call cost exceeds limit for rule: {}",
                    rule.said
                );
                return Some(Spent { path, kind, why });
            }
            let Some(rest) = left.checked_sub(spent) else {
                return Some(Spent { path, kind, why: ALL_SPENT.to_owned() });
            };
            left = rest;
        }
        None
    }
}

fn collect(schema: &Value, steps: &mut Vec<Step>, all: &mut Vec<Looping>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        // what is no CEL is told elsewhere
        let program = rule["rule"].as_str().and_then(|text| Program::compile(text).ok());
        let Some(program) = program else { continue };
        let loops = loops(program.expression());
        if loops.0 > 0 {
            let said = [&rule["message"], &rule["rule"]].into_iter().find_map(Value::as_str);
            let said = said.unwrap_or_default().trim().to_owned();
            let counted = counted(program.expression());
            let kind = shown(&schema["type"]);
            all.push(Looping { steps: steps.clone(), kind, said, counted, loops });
        }
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        steps.push(Step::Property(name.clone()));
        collect(inner, steps, all);
        steps.pop();
    }
    for word in ["additionalProperties", "items"] {
        if let Some(inner) = schema.get(word).filter(|inner| inner.is_object()) {
            steps.push(Step::Each);
            collect(inner, steps, all);
            steps.pop();
        }
    }
}

/// A place of an object, and what was there before.
struct Place<'a> {
    path: String,
    now: &'a Value,
    old: Option<&'a Value>,
}

fn places<'a>(steps: &[Step], object: &'a Value, old: Option<&'a Value>) -> Vec<Place<'a>> {
    let mut here = vec![Place { path: String::new(), now: object, old }];
    for step in steps {
        here = here.into_iter().flat_map(|place| below(step, &place)).collect();
    }
    here
}

fn below<'a>(step: &Step, place: &Place<'a>) -> Vec<Place<'a>> {
    let named = |name: &str, now: &'a Value| {
        let path = match place.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        };
        Place { path, now, old: place.old.and_then(|old| old.get(name)) }
    };
    match (step, place.now) {
        (Step::Property(name), Value::Object(fields)) => {
            fields.get(name).map(|now| named(name, now)).into_iter().collect()
        }
        (Step::Each, Value::Object(fields)) => {
            fields.iter().map(|(name, now)| named(name, now)).collect()
        }
        // members of a list before and after cannot be told apart here
        (Step::Each, Value::Array(items)) => (items.iter().enumerate())
            .map(|(i, now)| Place { path: format!("{}[{i}]", place.path), now, old: None })
            .collect(),
        _ => Vec::new(),
    }
}

/// Members of the longest list or map, or bytes of the longest string: no loop turns more often, but over a few of them.
fn longest(value: &Value) -> u64 {
    match value {
        Value::Array(items) => items.iter().map(longest).fold(items.len() as u64, u64::max),
        Value::Object(fields) => fields.values().map(longest).fold(fields.len() as u64, u64::max),
        Value::String(text) => text.len() as u64,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const PAIRS: &str = "self.names.all(a, self.names.exists_one(b, a == b))";

    fn budget(rule: &Value) -> Budget {
        Budget::of(&json!({"type": "object", "properties": {"spec": {"type": "object",
            "x-kubernetes-validations": [rule]}}}))
    }

    fn names(count: usize) -> Value {
        let names: Vec<String> = (0..count).map(|n| format!("n{n}")).collect();
        json!({"spec": {"names": names}})
    }

    #[test]
    fn a_rule_is_ended_at_a_million_turns_and_not_before() {
        let budget = budget(&json!({"rule": PAIRS}));
        assert_eq!(budget.spent(&names(900), None), None, "810,900 turns");
        let spent = budget.spent(&names(1100), None).expect("1,211,100 turns");
        assert_eq!((spent.path.as_str(), spent.kind.as_str()), ("spec", "\"object\""));
        let why = "'operation cancelled: actual cost limit exceeded': no further validation rules will be run due to \
                   call cost exceeds limit for rule: self.names.all(a, self.names.exists_one(b, a == b))";
        assert_eq!(spent.why, why);
    }

    #[test]
    fn a_rule_that_is_done_early_is_not_counted_to_the_end() {
        let budget = budget(&json!({"rule": "self.names.all(a, self.names.exists(b, b == 'n0'))"}));
        assert_eq!(
            budget.spent(&names(2000), None),
            None,
            "the inner loop ends in its second turn"
        );
    }

    #[test]
    #[ignore = "20 seconds without optimisation: cargo test -p devapi --lib -- --ignored all_rules"]
    fn all_rules_of_an_object_have_one_budget() {
        let rules: Vec<Value> = (0..13).map(|_| json!({"rule": PAIRS})).collect();
        let budget =
            Budget::of(&json!({"properties": {"spec": {"x-kubernetes-validations": rules}}}));
        let spent = budget.spent(&names(900), None).expect("10,541,700 turns");
        assert_eq!(spent.why, ALL_SPENT);
        assert_eq!(budget.spent(&names(800), None), None, "8,330,400 turns");
    }
}
