//! Expressions of admission policies: compiled once per thread, evaluated over JSON.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use kube::core::cel::KubeCelExt;
use kube::core::cel::cel::objects::{Key, Map};
use kube::core::cel::cel::{Context, ExecutionError, IdedExpr, Program, Value as Cel};
use serde_json::Value;

use crate::budget::{self, Turns};

/// Compiled expressions that a thread keeps.
const KEPT_MAX: usize = 512;

/// Why an expression is not taken.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Refused {
    /// It is no CEL.
    Wrong(String),
    /// Kubernetes would evaluate it; this server cannot.
    NotHere(String),
}

/// The variables of one evaluation.
pub(super) struct Scope {
    context: Context<'static>,
    turns: Turns,
    /// Of the budget that all expressions of the policy have.
    left: Cell<u64>,
}

impl Scope {
    pub(super) fn new(variables: &[(&str, &Value)]) -> Self {
        let mut context = Context::default().with_all();
        for (name, value) in variables {
            context.add_variable_from_value(*name, of_json(value));
        }
        let turns = Turns::of(&mut context);
        Self { context, turns, left: Cell::new(budget::ALL_MAX) }
    }

    /// Adds the policy's own variables, in their order. One that fails is absent: whoever uses it fails too.
    pub(super) fn add_variables(&mut self, variables: &[(&str, &str)]) {
        let mut known: HashMap<Key, Cel> = HashMap::new();
        for (name, expression) in variables {
            self.context.add_variable_from_value("variables", map(known.clone()));
            if let Ok(value) = compiled(expression).and_then(|p| self.run(&p)) {
                known.insert(Key::String(Arc::new((*name).to_owned())), value);
            }
        }
        self.context.add_variable_from_value("variables", map(known));
    }

    fn run(&self, expression: &Compiled) -> Result<Cel, String> {
        if self.left.get() == 0 {
            return Err(budget::ALL_SPENT.to_owned());
        }
        let result = self.context.resolve(&expression.counted).map_err(|e| e.to_string());
        let spent = self.turns.take();
        self.left.set(self.left.get().saturating_sub(spent));
        if spent > budget::CALL_MAX { Err(budget::CALL_SPENT.to_owned()) } else { result }
    }

    /// A condition.
    pub(super) fn holds(&self, expression: &str) -> Result<bool, String> {
        match compiled(expression).and_then(|p| self.run(&p))? {
            Cel::Bool(holds) => Ok(holds),
            other => Err(format!("it is no bool: {other:?}")),
        }
    }

    /// A message, if the expression comes to one that can be shown.
    pub(super) fn text(&self, expression: &str) -> Option<String> {
        match compiled(expression).and_then(|p| self.run(&p)) {
            Ok(Cel::String(text)) if !text.trim().is_empty() && !text.contains('\n') => {
                Some(text.trim().to_owned())
            }
            _ => None,
        }
    }
}

fn map(entries: HashMap<Key, Cel>) -> Cel {
    Cel::Map(Map { map: Arc::new(entries) })
}

/// Numbers are ints, as Kubernetes reads them.
pub(crate) fn of_json(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(b) => Cel::Bool(*b),
        Value::Number(n) => {
            n.as_i64().map_or_else(|| Cel::Float(n.as_f64().unwrap_or(f64::NAN)), Cel::Int)
        }
        Value::String(s) => Cel::String(Arc::new(s.clone())),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(of_json).collect())),
        Value::Object(fields) => map(fields
            .iter()
            .map(|(k, v)| (Key::String(Arc::new(k.clone())), of_json(v)))
            .collect()),
    }
}

struct Compiled {
    program: Program,
    /// What is evaluated.
    counted: IdedExpr,
}

fn compiled(expression: &str) -> Result<Rc<Compiled>, String> {
    thread_local! {
        static COMPILED: RefCell<HashMap<String, Rc<Compiled>>> = RefCell::new(HashMap::new());
    }
    COMPILED.with_borrow_mut(|kept| {
        if let Some(program) = kept.get(expression) {
            return Ok(Rc::clone(program));
        }
        let program = Program::compile(expression).map_err(|e| e.to_string())?;
        let counted = budget::counted(program.expression());
        let program = Rc::new(Compiled { program, counted });
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(expression.to_owned(), Rc::clone(&program));
        Ok(program)
    })
}

/// Whether this server can evaluate an expression.
pub(super) fn check(expression: &str) -> Result<(), Refused> {
    let program = compiled(expression).map_err(Refused::Wrong)?;
    let references = program.program.references();
    if references.has_variable("authorizer") {
        return Err(Refused::NotHere("`authorizer`: there is no authorization to ask".to_owned()));
    }
    for function in references.functions() {
        let name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        // operators are the library's own
        if !function.chars().all(name) || function.starts_with('_') || is_known(function) {
            continue;
        }
        return Err(Refused::NotHere(format!("the function `{function}` of CEL")));
    }
    Ok(())
}

/// Whether the library has a function of this name: called with nothing it complains of something else than of the name.
fn is_known(function: &str) -> bool {
    let calls = [format!("{function}()"), format!("''.{function}()"), format!("[].{function}()")];
    let context = Context::default().with_all();
    calls.iter().any(|call| match Program::compile(call).map(|p| p.execute(&context)) {
        Ok(Err(ExecutionError::UndeclaredReference(name))) => name.as_str() != function,
        // a macro in a place of its own
        Ok(_) | Err(_) => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_cannot_be_evaluated_is_told_before_it_is_needed() {
        assert_eq!(check("object.spec.size > 3 && 'a'.startsWith('b')"), Ok(()));
        assert_eq!(check("object.list.exists(x, x == 'a') && size(object.list) > 0"), Ok(()));
        assert!(matches!(check("object.spec."), Err(Refused::Wrong(_))));
        assert!(matches!(
            check("authorizer.group('').check('get').allowed()"),
            Err(Refused::NotHere(_))
        ));
        assert!(matches!(check("object.frobnicate(3)"), Err(Refused::NotHere(_))));
    }

    #[test]
    fn variables_may_use_those_before_them_and_a_failed_one_fails_who_uses_it() {
        let object = json!({"size": 3});
        let mut scope = Scope::new(&[("object", &object)]);
        scope.add_variables(&[
            ("two", "object.size - 1"),
            ("four", "variables.two * 2"),
            ("bad", "object.none"),
        ]);
        assert_eq!(scope.holds("variables.four == 4"), Ok(true));
        assert!(scope.holds("variables.bad == 4").is_err());
        assert!(scope.holds("3").is_err(), "no bool");
        assert_eq!(scope.text("'size ' + string(object.size)"), Some("size 3".to_owned()));
        assert_eq!(scope.text("'a\\nb'"), None);
    }

    #[test]
    fn an_expression_is_ended_at_a_million_turns_and_a_policy_at_ten() {
        let names: Vec<String> = (0..1100).map(|n| format!("n{n}")).collect();
        let object = json!({"names": names});
        let scope = Scope::new(&[("object", &object)]);
        let pairs = "object.names.all(a, object.names.exists_one(b, a == b))";
        assert_eq!(scope.holds(pairs), Err(budget::CALL_SPENT.to_owned()));
        let masked = format!("{pairs} || true");
        assert_eq!(scope.holds(&masked), Err(budget::CALL_SPENT.to_owned()), "not even so");
        assert_eq!(scope.holds("object.names.exists(a, a == 'n3')"), Ok(true));
        for _ in 0..8 {
            assert!(scope.holds(pairs).is_err());
        }
        assert_eq!(scope.holds("true"), Err(budget::ALL_SPENT.to_owned()));
    }
}
