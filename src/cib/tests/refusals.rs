//! What is no usable CIB is refused with line, element and remedy; nothing panics.

fn refused(text: &str) -> String {
    match cib::read(text) {
        Ok(_) => panic!("accepted: {text}"),
        Err(error) => error.to_string(),
    }
}

const HEAD: &str = r#"<cib validate-with="pacemaker-3.9"><configuration><crm_config/><nodes/>"#;

#[test]
fn a_truncated_file_names_the_line_at_which_it_ends() {
    let text = refused("<cib>\n<configuration>\n<nodes>");
    assert!(text.starts_with("line 3"), "{text}");
    assert!(text.contains("not well-formed"), "{text}");
}

#[test]
fn a_file_cut_off_inside_a_tag_names_line_and_element() {
    let text = refused("<cib>\n<configuration>\n<resources><group id=\"g\">\n <primitive id=\"a");
    assert!(text.starts_with("line 4, column 18, <primitive>"), "{text}");
    let text = refused("<cib>\n<configuration>\n<resources><group id=\"g\">\n<primitive/>\n");
    assert!(text.starts_with("line 5, column 1, <group id=\"g\">"), "{text}");
    assert!(text.contains("cibadmin --query"), "{text}");
    let text = refused("<cib>\n<nodes>\n<node id=\"1\"></nodes></cib>");
    assert!(text.starts_with("line 3, column 14, <node id=\"1\">"), "{text}");
}

#[test]
fn too_many_elements_are_refused_where_they_become_too_many() {
    let count = cib::ELEMENTS_MAX as usize;
    let text = refused(&format!("<cib>\n<nodes>{}", "\n<a/>".repeat(count)));
    let half = count / 2 + 1;
    assert!(text.starts_with(&format!("line {half}, column 4, <nodes>")), "{text}");
    assert!(text.contains("more than 4000000"), "{text}");
}

#[test]
fn an_unknown_version_says_how_to_convert() {
    let text = refused(r#"<cib validate-with="pacemaker-9.1"><configuration/></cib>"#);
    assert!(text.contains("cibadmin --upgrade"), "{text}");
}

#[test]
fn nesting_without_end_is_refused_before_it_is_parsed() {
    let text = refused(&"<a>".repeat(100_000));
    assert!(text.contains("nest deeper"), "{text}");
    // a value may look like the end of its element
    let text = refused(&"<a b='/>'\n>".repeat(100_000));
    assert!(text.starts_with("line 66, ") && text.contains("nest deeper"), "{text}");
    let flat = "<a b='>'/>".repeat(200);
    assert!(refused(&format!("<nodes>{flat}</nodes>")).contains("root element"));
}

#[test]
fn entities_are_not_expanded() {
    let text = r#"<!DOCTYPE cib [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><cib>&b;</cib>"#;
    assert!(refused(text).contains("not well-formed"));
}

#[test]
fn a_resource_declared_twice_is_named_where_it_is_repeated() {
    let text = format!(
        "{HEAD}<resources>\n<primitive id=\"a\" class=\"ocf\" provider=\"p\" type=\"t\"/>\n\
         <primitive id=\"a\" class=\"ocf\" provider=\"p\" type=\"t\"/></resources></configuration></cib>"
    );
    let text = refused(&text);
    assert!(text.starts_with("line 3"), "{text}");
    assert!(text.contains("declared twice"), "{text}");
}

#[test]
fn a_missing_attribute_is_named() {
    let text = format!(
        "{HEAD}<resources><primitive id=\"a\" class=\"ocf\"/></resources></configuration></cib>"
    );
    let text = refused(&text);
    assert!(text.contains("primitive id=\"a\"") && text.contains("attribute type"), "{text}");
}

#[test]
fn a_template_that_does_not_exist_is_named() {
    let text = format!(
        "{HEAD}<resources><primitive id=\"a\" template=\"t\"/></resources></configuration></cib>"
    );
    assert!(refused(&text).contains("template \"t\" is not declared"));
}

#[test]
fn any_prefix_of_a_good_file_is_refused_and_none_panics() {
    let good = format!(
        "{HEAD}<resources><clone id=\"c\"><primitive id=\"a\" class=\"ocf\" provider=\"p\" type=\"t\">\
         <operations><op id=\"o\" name=\"monitor\" interval=\"10s\"/></operations></primitive></clone>\
         </resources><constraints><rsc_location id=\"l\" rsc=\"c\"><rule id=\"r\" score=\"INFINITY\">\
         <expression id=\"e\" attribute=\"#uname\" operation=\"eq\" value=\"n\"/></rule></rsc_location>\
         </constraints></configuration><status/></cib>"
    );
    assert!(cib::read(&good).is_ok());
    for end in 0..good.len() {
        assert!(cib::read(&good[..end]).is_err(), "prefix of {end} bytes");
    }
}
