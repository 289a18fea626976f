//! The page as HTML. All text of the cluster is escaped; nothing is loaded from elsewhere.

use std::fmt::{self, Display, Formatter, Write as _};

use crate::{
    status::{Tone, View, clock_time},
    timeline::{Escaped, Incident, NarrowSvg, Svg},
};

/// What changes: sent again as a whole whenever it did.
pub(super) struct Fragment<'a> {
    pub(super) view: &'a View,
    pub(super) incident: Option<&'a Incident>,
}

/// The page around it, whole without a script too.
pub(super) struct Page<'a> {
    pub(super) title: &'a str,
    pub(super) at: &'a str,
    pub(super) fragment: &'a str,
}

impl Display for Page<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (title, at) = (Escaped(self.title), Escaped(self.at));
        writeln!(
            f,
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
             <link rel=\"icon\" href=\"data:,\">\n<link rel=\"stylesheet\" href=\"/page.css\">\n\
             <header><h1>{title}</h1><span id=\"at\">{at}</span><span id=\"live\">as it was when asked</span></header>\n\
             <main id=\"view\" aria-live=\"off\">\n{}</main>\n\
             <footer>It shows and changes nothing. The same in a terminal: <code>palisade status --watch</code>, \
             <code>palisade timeline</code>.</footer>\n<script src=\"/page.js\"></script>\n</html>",
            self.fragment
        )
    }
}

/// Nobody answers: what then stands in the place of a view.
pub(super) fn silent(why: &str) -> String {
    format!("<p class=\"verdict bad\">no agent answers: {}</p>\n", Escaped(why))
}

impl Display for Fragment<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let view = self.view;
        match &view.trouble {
            Some(why) => writeln!(f, "<p class=\"verdict bad\">{}</p>", Escaped(why))?,
            None => writeln!(
                f,
                "<p class=\"verdict good\">quorate, era open, coordinated by {}</p>",
                Escaped(&view.coordinator)
            )?,
        }
        machines(f, view)?;
        writeln!(
            f,
            "<h2>Ring</h2>\n<p class=\"sheet\">{} {}: {}</p>",
            Escaped(&view.ring),
            Escaped(&view.ring_state),
            Escaped(&view.members.join(", "))
        )?;
        let happening: Vec<(&str, &str)> = view
            .owes
            .iter()
            .map(|line| ("between", line.as_str()))
            .chain(view.fencing.iter().map(|line| ("between", line.as_str())))
            .collect();
        if !happening.is_empty() {
            writeln!(f, "<h2>Under way</h2>")?;
            for (class, line) in happening {
                writeln!(f, "<p class=\"sheet {class}\">{}</p>", Escaped(line))?;
            }
        }
        resources(f, view)?;
        if let Some(incident) = self.incident {
            writeln!(f, "<h2>Last failure</h2>\n<div class=\"sheet\">")?;
            writeln!(f, "{}{}", Svg(incident), NarrowSvg(incident))?;
            writeln!(f, "<p class=\"count\">{} steps</p>", incident.entries.len())?;
            writeln!(f, "<div class=\"scroll\" tabindex=\"0\"><table class=\"steps\">")?;
            for (at, entry) in &incident.entries {
                step(f, &format!("{at:+} ms"), &entry.kind, &entry.text)?;
            }
            writeln!(f, "</table></div></div>")?;
        }
        writeln!(f, "<h2>Lately</h2>\n<table class=\"sheet steps\">")?;
        for entry in view.lately.iter().rev() {
            step(f, &clock_time(entry.at_ms), &entry.kind, &entry.text)?;
        }
        writeln!(f, "</table>")
    }
}

fn machines(f: &mut Formatter<'_>, view: &View) -> fmt::Result {
    writeln!(f, "<h2>Machines</h2>\n<div class=\"machines\">")?;
    for machine in &view.machines {
        write!(
            f,
            "<div class=\"machine {}\"><b>{}</b> {}",
            class(machine.tone),
            Escaped(&machine.name),
            Escaped(&machine.state)
        )?;
        let runs =
            if machine.runs.is_empty() { "runs nothing".into() } else { machine.runs.join(", ") };
        write!(f, "<p>{}</p>", Escaped(&runs))?;
        if let Some(reason) = &machine.reason {
            write!(f, "<p class=\"why\">{}</p>", Escaped(reason))?;
        }
        writeln!(f, "</div>")?;
    }
    writeln!(f, "</div>")
}

fn resources(f: &mut Formatter<'_>, view: &View) -> fmt::Result {
    writeln!(f, "<h2>Resources</h2>\n<table class=\"sheet\">")?;
    for resource in &view.resources {
        let mut runs = String::new();
        match resource.runs.is_empty() {
            true => write!(runs, "<b class=\"bad\">nowhere</b>")?,
            false => write!(runs, "{}", Escaped(&resource.runs.join(", ")))?,
        }
        if let Some(reason) = &resource.reason {
            write!(runs, "<br>{}", Escaped(reason))?;
        }
        writeln!(
            f,
            "<tr><td><b>{}</b></td><td>{}</td><td>{runs}</td></tr>",
            Escaped(&resource.id),
            Escaped(&resource.kind)
        )?;
    }
    writeln!(f, "</table>")
}

fn step(f: &mut Formatter<'_>, at: &str, kind: &str, text: &str) -> fmt::Result {
    let (kind, text) = (Escaped(kind), Escaped(text));
    writeln!(f, "<tr><td>{at}</td><td>{kind}</td><td>{text}</td></tr>")
}

const fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Bad => "bad",
        Tone::Between => "between",
        Tone::Good => "good",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_the_cluster_is_text_on_the_page() {
        let mut status = crate::status::specimen();
        status.nodes[0].reason = Some("<script>x</script>".into());
        status.resources[0].instances[0].role = "Stopped".into();
        let view = View::new(&status, Vec::new());
        let html = Fragment { view: &view, incident: None }.to_string();
        assert!(!html.contains("<script>") && html.contains("&lt;script&gt;x"), "{html}");
        assert!(html.contains("<b class=\"bad\">nowhere</b>"), "{html}");
        assert!(html.contains("machine bad\"><b>ctl-1</b> unclean"), "{html}");
        let page = Page { title: "a & b", at: "now", fragment: &html }.to_string();
        assert!(page.contains("<title>a &amp; b</title>"), "{page}");
        let outside = page.matches("http").count();
        assert_eq!(outside, 0, "something is loaded from elsewhere: {page}");
    }
}
