//! Primitives, groups, clones, promotable clones, and what they are told.

use std::fmt::Write as _;

use super::{Draw, Drawn, Top};

pub(super) fn section(draw: &mut Draw, fencing: bool) -> String {
    let mut text = String::new();
    if draw.about("names", 80) {
        text.push_str(
            "<template id=\"base\" class=\"ocf\" provider=\"pacemaker\" type=\"Dummy\"><meta_attributes id=\"base-m\">\
             <nvpair id=\"base-p\" name=\"priority\" value=\"5\"/></meta_attributes><operations>\
             <op id=\"base-o\" name=\"monitor\" interval=\"10s\"/></operations></template>\n",
        );
    }
    let templated = !text.is_empty();
    if fencing {
        let mut inside = String::new();
        if draw.about("fencing", 40) {
            draw.option(&mut inside, "provides", "unfencing");
        }
        let meta = draw.set("meta_attributes", &inside);
        let _ = writeln!(
            text,
            "<primitive id=\"Fencing\" class=\"stonith\" type=\"fence_xvm\">{meta}</primitive>"
        );
        draw.primitives.push(Drawn {
            id: "Fencing".to_owned(),
            class: "stonith",
            copies: None,
            cloned: false,
            promotable: false,
        });
    }
    for number in 0..2 + draw.random.below(4) {
        let kind = draw.random.below(10);
        let one = match kind {
            0..=3 => primitive(draw, &format!("p{number}"), templated, Kind::default()),
            4..=5 => group(draw, number, Kind::default()),
            _ => clone(draw, number, kind >= 8),
        };
        text.push_str(&one);
        let (id, promotable) = match kind {
            0..=3 => (format!("p{number}"), false),
            4..=5 => (format!("g{number}"), false),
            _ => (format!("c{number}"), kind >= 8),
        };
        draw.tops.push(Top { id, promotable, clone: kind > 5 });
    }
    text
}

/// What a primitive is inside of.
#[derive(Clone, Copy, Default)]
struct Kind {
    copies: Option<usize>,
    cloned: bool,
    promotable: bool,
}

fn group(draw: &mut Draw, number: usize, kind: Kind) -> String {
    let mut text = format!("<group id=\"g{number}\">\n");
    text.push_str(&meta(draw));
    for member in 0..1 + draw.random.below(3) {
        text.push_str(&primitive(draw, &format!("m{number}{member}"), false, kind));
    }
    text + "</group>\n"
}

fn clone(draw: &mut Draw, number: usize, promotable: bool) -> String {
    let mut inside = String::new();
    if promotable {
        draw.option(&mut inside, "promotable", "true");
        if draw.about("copies", 40) {
            let value = draw.pick(&["2", "0", "3"]);
            draw.option(&mut inside, "promoted-max", value);
        }
        if draw.about("copies", 10) {
            draw.option(&mut inside, "promoted-node-max", "2");
        }
    }
    if draw.random.percent(50) {
        draw.option(&mut inside, "interleave", "true");
    }
    let choices: [(&str, &[&str], usize); 5] = [
        ("notify", &["true"], 30),
        ("ordered", &["true"], 30),
        ("clone-max", &["1", "2", "3", "0"], 40),
        ("clone-min", &["1", "2"], 30),
        ("clone-node-max", &["2"], 20),
    ];
    for (name, values, chance) in choices {
        if draw.about("copies", chance) {
            let value = draw.pick(values);
            draw.option(&mut inside, name, value);
        }
    }
    let unique = draw.about("copies", 25);
    if unique {
        draw.option(&mut inside, "globally-unique", "true");
    }
    let (set, more) = (draw.set("meta_attributes", &inside), meta(draw));
    let kind = Kind { copies: unique.then_some(draw.nodes.len()), cloned: true, promotable };
    let child = if draw.random.percent(25) {
        group(draw, number, kind)
    } else {
        primitive(draw, &format!("q{number}"), false, kind)
    };
    format!("<clone id=\"c{number}\">\n{set}{more}{child}</clone>\n")
}

fn primitive(draw: &mut Draw, id: &str, templated: bool, kind: Kind) -> String {
    let templated = templated && draw.random.percent(50);
    draw.primitives.push(Drawn {
        id: id.to_owned(),
        class: "ocf",
        copies: kind.copies,
        cloned: kind.cloned,
        promotable: kind.promotable,
    });
    let meta = meta(draw);
    if templated {
        return format!("<primitive id=\"{id}\" template=\"base\">\n{meta}</primitive>\n");
    }
    let agent = if kind.promotable { "Stateful" } else { "Dummy" };
    let operations = operations(draw, id, kind.promotable);
    let demand = super::utilization(draw, &["1", "2", "3"]);
    format!(
        "<primitive id=\"{id}\" class=\"ocf\" provider=\"pacemaker\" type=\"{agent}\">\n{demand}{meta}{operations}</primitive>\n"
    )
}

fn meta(draw: &mut Draw) -> String {
    let mut inside = String::new();
    let choices: [(&str, &str, &[&str], usize); 15] = [
        ("basics", "priority", &["10", "-5"], 15),
        ("basics", "resource-stickiness", &["5", "-10", "INFINITY"], 15),
        ("managed", "is-managed", &["false"], 15),
        ("managed", "maintenance", &["true"], 10),
        ("managed", "target-role", &["Stopped", "Started", "Unpromoted", "Promoted"], 20),
        ("roles", "target-role", &["Stopped", "Unpromoted", "Promoted"], 10),
        ("failures", "migration-threshold", &["1", "2"], 25),
        ("failures", "failure-timeout", &["60s", "1h"], 25),
        ("fencing", "requires", &["nothing", "quorum", "fencing", "unfencing"], 25),
        ("quorum", "requires", &["nothing", "quorum", "fencing"], 20),
        (
            "multiple",
            "multiple-active",
            &["stop_start", "stop_only", "block", "stop_unexpected"],
            60,
        ),
        ("fencing", "priority", &["10", "3"], 25),
        ("sets", "critical", &["false"], 15),
        ("migration", "allow-migrate", &["true", "true", "false"], 80),
        ("locks", "resource-stickiness", &["INFINITY"], 10),
    ];
    for (dimension, name, values, chance) in choices {
        if draw.about(dimension, chance) {
            let value = draw.pick(values);
            draw.option(&mut inside, name, value);
        }
    }
    draw.set("meta_attributes", &inside)
}

fn operations(draw: &mut Draw, id: &str, promotable: bool) -> String {
    const ON_FAIL: [&str; 8] =
        ["restart", "ignore", "block", "stop", "standby", "fence", "demote", "restart-container"];
    let mut text = String::from("<operations>\n");
    let mut op = |draw: &mut Draw, name: &str, interval: &str, more: &str| {
        let mut more = more.to_owned();
        if draw.about("failures", 30) {
            let value = draw.pick(&ON_FAIL[..6]);
            let _ = write!(more, " on-fail=\"{value}\"");
        }
        let number = draw.id();
        let _ = writeln!(
            text,
            "<op id=\"{id}-{name}-{number}\" name=\"{name}\" interval=\"{interval}\"{more}/>"
        );
    };
    op(draw, "monitor", "10s", "");
    if promotable {
        op(draw, "monitor", "11s", " role=\"Promoted\"");
        if draw.about("failures", 20) {
            op(draw, "promote", "0", "");
        }
    }
    if draw.about("operations", 30) {
        op(draw, "monitor", "12s", " role=\"Stopped\"");
    }
    if draw.about("operations", 20) {
        op(draw, "monitor", "13s", " enabled=\"false\"");
    }
    if draw.about("operations", 20) {
        op(draw, "monitor", "14s", " start-delay=\"5s\"");
    }
    if draw.about("operations", 20) || draw.about("failures", 20) {
        op(draw, "start", "0", "");
        op(draw, "stop", "0", "");
    }
    text + "</operations>\n"
}
