//! Small random CIBs. Each dimension draws the basics (groups, clones, constraints, history) and one part of the language
//! often; `mixed` draws a little of all.

mod constraints;
mod resources;
mod status;

use std::fmt::Write as _;

use super::random::Random;

/// What a CIB may be about.
pub(crate) const DIMENSIONS: [&str; 22] = [
    "basics",
    "sets",
    "roles",
    "failures",
    "nodes",
    "quorum",
    "fencing",
    "health",
    "locks",
    "tickets",
    "rules",
    "copies",
    "names",
    "probes",
    "managed",
    "operations",
    "orphans",
    "multiple",
    "migration",
    "utilization",
    "pending",
    "mixed",
];

pub(crate) const NOW: i64 = 1_700_000_000;

/// A CIB under construction.
pub(crate) struct Draw {
    pub(crate) random: Random,
    dimension: String,
    pub(crate) nodes: Vec<String>,
    /// Nodes on which resources may have a history.
    pub(crate) up: Vec<usize>,
    pub(crate) primitives: Vec<Drawn>,
    /// What constraints may name.
    pub(crate) tops: Vec<Top>,
    number: usize,
}

/// A primitive, for its history.
pub(crate) struct Drawn {
    pub(crate) id: String,
    pub(crate) class: &'static str,
    /// Copies with names of their own: `id:0` and up to this.
    pub(crate) copies: Option<usize>,
    pub(crate) cloned: bool,
    pub(crate) promotable: bool,
}

/// A resource that stands alone.
pub(crate) struct Top {
    pub(crate) id: String,
    pub(crate) promotable: bool,
    pub(crate) clone: bool,
}

impl Draw {
    /// Whether to draw something of a dimension: often in its own CIBs, seldom in mixed ones, never elsewhere.
    pub(crate) fn about(&mut self, dimension: &str, chance: usize) -> bool {
        match self.dimension.as_str() {
            "mixed" => self.random.percent(chance / 4),
            own if own == dimension => self.random.percent(chance),
            _ => false,
        }
    }

    pub(crate) fn id(&mut self) -> String {
        self.number += 1;
        format!("i{}", self.number)
    }

    pub(crate) fn option(&mut self, into: &mut String, name: &str, value: &str) {
        let id = self.id();
        let _ = writeln!(into, "<nvpair id=\"{id}\" name=\"{name}\" value=\"{value}\"/>");
    }

    /// A set of options around what was drawn, if anything was.
    pub(crate) fn set(&mut self, tag: &str, inside: &str) -> String {
        if inside.is_empty() {
            return String::new();
        }
        format!("<{tag} id=\"{}\">\n{inside}</{tag}>\n", self.id())
    }

    pub(crate) fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.random.below(from.len())]
    }
}

/// The CIB of a dimension and a seed.
pub(crate) fn cib(dimension: &str, seed: u64) -> String {
    let mixed = dimension.bytes().fold(seed, |sum, byte| sum.wrapping_mul(31) + u64::from(byte));
    let mut draw = Draw {
        random: Random::new(mixed),
        dimension: dimension.to_owned(),
        nodes: Vec::new(),
        up: Vec::new(),
        primitives: Vec::new(),
        tops: Vec::new(),
        number: 0,
    };
    let count = 2 + draw.random.below(3);
    draw.nodes = (1..=count).map(|n| format!("n{n}")).collect();
    let fencing = draw.random.percent(60);
    let properties = properties(&mut draw, fencing);
    let states = status::states(&mut draw);
    let nodes = nodes(&mut draw);
    let resources = resources::section(&mut draw, fencing);
    let defaults = defaults(&mut draw);
    let constraints = constraints::section(&mut draw);
    let topology = topology(&mut draw, fencing);
    let tags = tags(&mut draw);
    let status = status::section(&mut draw, &states);
    let quorum = draw.about("quorum", 60) || draw.about("nodes", 10);
    format!(
        "<cib validate-with=\"pacemaker-3.9\" crm_feature_set=\"3.16.1\" epoch=\"1\" num_updates=\"1\" admin_epoch=\"0\" \
         have-quorum=\"{}\" dc-uuid=\"1\" execution-date=\"{NOW}\">\n<configuration>\n\
         <crm_config>\n{properties}</crm_config>\n<nodes>\n{nodes}</nodes>\n<resources>\n{resources}</resources>\n\
         <constraints>\n{constraints}</constraints>\n{topology}{defaults}{tags}</configuration>\n<status>\n{status}</status>\n</cib>\n",
        !quorum
    )
}

fn properties(draw: &mut Draw, fencing: bool) -> String {
    let mut text = String::new();
    draw.option(&mut text, "stonith-enabled", if fencing { "true" } else { "false" });
    let choices: [(&str, &str, &[&str], usize); 16] = [
        ("quorum", "no-quorum-policy", &["stop", "freeze", "ignore", "demote", "suicide"], 90),
        ("managed", "symmetric-cluster", &["false"], 20),
        ("managed", "stop-all-resources", &["true"], 10),
        ("managed", "maintenance-mode", &["true"], 10),
        ("managed", "stop-orphan-resources", &["false"], 10),
        ("failures", "start-failure-is-fatal", &["false"], 40),
        ("fencing", "stonith-action", &["off", "reboot"], 40),
        ("fencing", "concurrent-fencing", &["true", "false"], 60),
        ("fencing", "startup-fencing", &["false"], 20),
        ("fencing", "priority-fencing-delay", &["15s"], 30),
        ("nodes", "startup-fencing", &["false"], 20),
        (
            "health",
            "node-health-strategy",
            &["migrate-on-red", "only-green", "progressive", "custom", "none"],
            95,
        ),
        ("health", "node-health-base", &["10", "0"], 20),
        ("probes", "enable-startup-probes", &["false"], 20),
        ("locks", "shutdown-lock", &["true"], 90),
        ("utilization", "placement-strategy", &["utilization", "minimal", "balanced"], 95),
    ];
    for (dimension, name, values, chance) in choices {
        if draw.about(dimension, chance) {
            let value = draw.pick(values);
            draw.option(&mut text, name, value);
        }
    }
    if draw.about("health", 30) {
        let value = draw.pick(&["-10", "-INFINITY", "5"]);
        draw.option(&mut text, "node-health-yellow", value);
    }
    if draw.about("locks", 30) {
        draw.option(&mut text, "shutdown-lock-limit", "10min");
    }
    draw.set("cluster_property_set", &text)
}

fn nodes(draw: &mut Draw) -> String {
    let mut text = String::new();
    for at in 0..draw.nodes.len() {
        let mut attributes = String::new();
        if draw.random.percent(50) {
            let zone = draw.pick(&["a", "b"]);
            draw.option(&mut attributes, "zone", zone);
        }
        if draw.about("rules", 50) {
            let value = draw.pick(&["1", "2.5", "10", "-3", "x"]);
            draw.option(&mut attributes, "size", value);
        }
        if draw.about("nodes", 20) || draw.about("migration", 25) || draw.about("utilization", 10) {
            draw.option(&mut attributes, "standby", "on");
        }
        if draw.about("managed", 10) {
            draw.option(&mut attributes, "maintenance", "true");
        }
        if draw.about("health", 50) {
            let value = draw.pick(&["red", "yellow", "green", "10", "-20"]);
            draw.option(&mut attributes, "#health-disk", value);
        }
        let mut attributes = draw.set("instance_attributes", &attributes);
        attributes.push_str(&utilization(draw, &["4", "2", "8", "6"]));
        let name = &draw.nodes[at];
        let _ = writeln!(text, "<node id=\"{}\" uname=\"{name}\">{attributes}</node>", at + 1);
    }
    text
}

/// Capacities of a node, or what a resource takes of them.
fn utilization(draw: &mut Draw, amounts: &[&str]) -> String {
    let mut inside = String::new();
    for name in ["cpu", "memory"] {
        if draw.about("utilization", 60) {
            let amount = draw.pick(amounts);
            draw.option(&mut inside, name, amount);
        }
    }
    draw.set("utilization", &inside)
}

fn defaults(draw: &mut Draw) -> String {
    let mut inside = String::new();
    if draw.random.percent(50) {
        let value = draw.pick(&["1", "100", "INFINITY", "0"]);
        draw.option(&mut inside, "resource-stickiness", value);
    }
    if draw.about("failures", 40) {
        let value = draw.pick(&["1", "3"]);
        draw.option(&mut inside, "migration-threshold", value);
    }
    if draw.about("names", 20) {
        let value = draw.pick(&["Stopped", "Unpromoted", "Started"]);
        draw.option(&mut inside, "target-role", value);
    }
    let mut sets = draw.set("meta_attributes", &inside);
    if draw.about("rules", 40) {
        let rule = constraints::option_rule(draw);
        let mut inside = String::new();
        let value = draw.pick(&["50", "-50"]);
        draw.option(&mut inside, "resource-stickiness", value);
        let value = draw.pick(&["true", "false"]);
        draw.option(&mut inside, "is-managed", value);
        sets.push_str(&draw.set("meta_attributes", &format!("{rule}{inside}")));
    }
    let mut text =
        if sets.is_empty() { sets } else { format!("<rsc_defaults>\n{sets}</rsc_defaults>\n") };
    if draw.about("failures", 20) || draw.about("operations", 20) {
        let mut inside = String::new();
        let value = draw.pick(&["restart", "ignore", "block", "stop", "standby"]);
        draw.option(&mut inside, "on-fail", value);
        let set = draw.set("meta_attributes", &inside);
        let _ = writeln!(text, "<op_defaults>{set}</op_defaults>");
    }
    text
}

fn topology(draw: &mut Draw, fencing: bool) -> String {
    if !fencing || !draw.about("fencing", 40) {
        return String::new();
    }
    let mut text = String::from("<fencing-topology>\n");
    for at in 0..draw.nodes.len() {
        let (id, name) = (draw.id(), draw.nodes[at].clone());
        let _ = writeln!(
            text,
            "<fencing-level id=\"{id}\" target=\"{name}\" index=\"1\" devices=\"Fencing\"/>"
        );
    }
    text + "</fencing-topology>\n"
}

fn tags(draw: &mut Draw) -> String {
    if !matches!(draw.dimension.as_str(), "names" | "mixed") {
        return String::new();
    }
    let references: String = draw
        .tops
        .iter()
        .take(2)
        .fold(String::new(), |all, top| all + &format!("<obj_ref id=\"{}\"/>", top.id));
    format!("<tags><tag id=\"pair\">{references}</tag></tags>\n")
}
