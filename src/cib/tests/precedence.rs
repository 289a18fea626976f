//! Which of several option sets has precedence, and what a lost ticket does where nobody can be fenced; as `crm_simulate`
//! 2.1.5 answers the same CIBs.

fn plan(properties: &str, resources: &str, constraints: &str, history: &str) -> policy::Plan {
    let text = format!(
        "<cib validate-with=\"pacemaker-3.9\" have-quorum=\"true\" dc-uuid=\"1\" execution-date=\"1700000000\"><configuration>\
         <crm_config><cluster_property_set id=\"o\"><nvpair id=\"o1\" name=\"stonith-enabled\" value=\"false\"/>{properties}\
         </cluster_property_set></crm_config><nodes><node id=\"1\" uname=\"n1\"/><node id=\"2\" uname=\"n2\"/></nodes>\
         <resources>{resources}</resources><constraints>{constraints}</constraints></configuration><status>\
         <node_state id=\"1\" uname=\"n1\" in_ccm=\"true\" crmd=\"online\" join=\"member\" expected=\"member\"><lrm id=\"1\"><lrm_resources>\
         {history}</lrm_resources></lrm></node_state>\
         <node_state id=\"2\" uname=\"n2\" in_ccm=\"true\" crmd=\"online\" join=\"member\" expected=\"member\"/></status></cib>"
    );
    let cib = cib::read(&text).expect("a CIB");
    policy::schedule(&cib.model).expect("a plan")
}

fn primitive(id: &str, inside: &str) -> String {
    format!(
        "<primitive id=\"{id}\" class=\"ocf\" provider=\"pacemaker\" type=\"Dummy\">{inside}</primitive>"
    )
}

/// It was started on n1.
fn ran(id: &str) -> String {
    format!(
        "<lrm_resource id=\"{id}\" class=\"ocf\" provider=\"pacemaker\" type=\"Dummy\"><lrm_rsc_op id=\"{id}_last_0\" \
         operation_key=\"{id}_start_0\" operation=\"start\" transition-key=\"1:1:0:a\" transition-magic=\"0:0;1:1:0:a\" \
         call-id=\"1\" rc-code=\"0\" op-status=\"0\" interval=\"0\" op-digest=\"f2317cad3d54cec5d7d7aa7d0bf35cf8\"/></lrm_resource>"
    )
}

fn place(plan: &policy::Plan, id: &str) -> Vec<String> {
    plan.placements[id].iter().map(|at| at.node.clone()).collect()
}

/// Two sets of options: stickiness 100 and 50, in this order.
fn two_sets(scores: [&str; 2]) -> String {
    let set = |id: &str, score: &str, value: &str| {
        format!(
            "<meta_attributes id=\"{id}\" {score}><nvpair id=\"{id}-n\" name=\"resource-stickiness\" value=\"{value}\"/></meta_attributes>"
        )
    };
    set("s1", scores[0], "100") + &set("s2", scores[1], "50")
}

const ELSEWHERE: &str = "<rsc_location id=\"l\" rsc=\"p\" node=\"n2\" score=\"75\"/>";

#[test]
fn of_option_sets_of_one_score_the_last_has_precedence() {
    let moved = plan("", &primitive("p", &two_sets(["", ""])), ELSEWHERE, &ran("p"));
    assert_eq!(place(&moved, "p"), ["n2"]);
    let scores = ["score=\"2\"", "score=\"1\""];
    let stays = plan("", &primitive("p", &two_sets(scores)), ELSEWHERE, &ran("p"));
    assert_eq!(place(&stays, "p"), ["n1"]);
}

#[test]
fn a_lost_ticket_stops_where_nobody_can_be_fenced() {
    let ticket = "<rsc_ticket id=\"t\" rsc=\"p\" ticket=\"t1\" loss-policy=\"fence\"/>\
                  <rsc_location id=\"l\" rsc=\"q\" node=\"n1\" score=\"INFINITY\"/>";
    let both = primitive("p", "") + &primitive("q", "");
    let plan = plan("", &both, ticket, &ran("p"));
    assert!(place(&plan, "p").is_empty());
    assert_eq!(place(&plan, "q"), ["n1"]);
}
