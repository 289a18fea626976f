//! What can be said without a containerd: names, frames, specifications, templates. With one: `tests/real.rs`.

use std::{string::String, vec::Vec};

use base::ResourceId;
use serde_json::{Value, json};

use super::{
    driver::id,
    grpc::{framed, messages},
    image::{Says, chain},
    messages::{Content, ReadContent},
    spec::spec,
};
use crate::process::parse_template;

mod real;

fn made(template: &str, says: &Says) -> Result<Value, String> {
    let template = parse_template(template).expect("a good template");
    let image = template.image.clone().expect("of an image");
    spec("palisade-1", &template, &image, says)
}

fn words(all: &[&str]) -> Option<Vec<String>> {
    Some(all.iter().map(|&word| word.to_owned()).collect())
}

#[test]
fn a_resource_has_one_name_that_containerd_takes() {
    let web: ResourceId = "web:0".parse().expect("valid");
    assert_eq!(id(&web), id(&web));
    assert_ne!(id(&web), id(&"web:1".parse().expect("valid")));
    assert_eq!(id(&web).len(), "palisade-".len() + 40);
    assert!(id(&web).bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
}

#[test]
fn layers_are_named_by_what_lies_below_them() {
    assert_eq!(chain(&[]), None);
    assert_eq!(chain(&["sha256:a".into()]), Some("sha256:a".into()));
    // printf 'sha256:a sha256:b' | sha256sum
    assert_eq!(
        chain(&["sha256:a".into(), "sha256:b".into()]).as_deref(),
        Some("sha256:970a948bffa8de94d6e22d747ba8c95030e6e546909f98f54e99a13005e173a8")
    );
}

#[test]
fn frames_are_read_whole_or_not_at_all() {
    let mut bytes = framed(&Content { data: b"one".into() });
    bytes.extend(framed(&Content { data: b"two".into() }));
    let read: Vec<Content> = messages(&bytes).expect("whole");
    assert_eq!(read.iter().map(|part| &part.data[..]).collect::<Vec<_>>(), [b"one", b"two"]);
    for cut in 1..bytes.len() {
        if cut != bytes.len() / 2 {
            assert!(messages::<Content>(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }
    bytes[0] = 1;
    assert!(messages::<Content>(&bytes).is_err(), "compressed");
    assert_eq!(framed(&ReadContent { digest: "a".into() }), [0, 0, 0, 0, 3, 10, 1, b'a']);
}

#[test]
fn the_template_says_and_where_it_is_silent_the_image() {
    let says = Says {
        environment: words(&["A=image", "B=image"]),
        entrypoint: words(&["/bin/web"]),
        command: words(&["--port", "80"]),
        user: Some("1000:100".into()),
        working_dir: Some("/srv".into()),
    };
    let quiet = made("image = \"web:1\"\n", &says).expect("good");
    assert_eq!(quiet["process"]["args"], json!(["/bin/web", "--port", "80"]));
    assert_eq!(quiet["process"]["user"], json!({"uid": 1000, "gid": 100}));
    assert_eq!(quiet["process"]["cwd"], "/srv");
    assert_eq!(quiet["process"]["env"][0], "A=image");
    assert_eq!(quiet["process"]["capabilities"]["effective"], json!([]), "no root, no rights");
    let said = "image = \"web:1\"\nargv = [\"/bin/sh\", \"$(id)\"]\nuser = \"0\"\nworking_dir = \"/\"\n\
                environment = { A = \"template\" }\noom_score_adj = -5\nread_only = true\n\
                mounts = [{ source = \"/etc/web\", target = \"/etc/web\", read_only = true }]\n";
    let said = made(said, &says).expect("good");
    assert_eq!(said["process"]["args"], json!(["/bin/sh", "$(id)"]));
    assert_eq!(said["process"]["env"][0], "A=template");
    assert_eq!(said["process"]["env"][1], "B=image");
    assert_eq!(said["process"]["cwd"], "/");
    assert_eq!(said["process"]["oomScoreAdj"], -5);
    assert_eq!(said["root"]["readonly"], true);
    let mount = said["mounts"].as_array().and_then(|all| all.last()).expect("some");
    assert_eq!(mount["source"], "/etc/web");
    assert_eq!(mount["options"], json!(["rbind", "ro"]));
    assert!(made("image = \"web:1\"\n", &Says::default()).is_err(), "nothing to start");
    let named = Says { user: Some("www".into()), ..says };
    assert!(made("image = \"web:1\"\n", &named).expect_err("a name").contains("UID:GID"));
}

#[test]
fn a_container_shares_the_network_and_nothing_else() {
    let says = Says { entrypoint: words(&["/web"]), ..Says::default() };
    let spec = made("image = \"web:1\"\n", &says).expect("good");
    assert_eq!(
        spec["linux"]["namespaces"],
        json!([{"type": "pid"}, {"type": "ipc"}, {"type": "mount"}])
    );
    assert_eq!(spec["process"]["noNewPrivileges"], true);
    let may = spec["process"]["capabilities"]["bounding"].to_string();
    for never in ["SYS_ADMIN", "NET_ADMIN", "NET_RAW", "MKNOD", "SYS_PTRACE", "SYS_BOOT"] {
        assert!(!may.contains(never), "{never}");
    }
    assert_eq!(spec["linux"]["cgroupsPath"], "/palisade/palisade-1");
}

#[test]
fn templates_of_images_are_checked() {
    let good = format!("image = \"web:1\"\nimage_digest = \"sha256:{}\"\n", "a".repeat(64));
    assert!(parse_template(&good).is_ok());
    for (bad, why) in [
        ("", "argv is empty"),
        ("argv = [\"/bin/web\"]\nread_only = true\n", "need an image"),
        ("image = \"web 1\"\n", "image must be"),
        ("image = \"web:1\"\nargv = [\"web\"]\n", "absolute"),
        ("image = \"web:1\"\nuser = \"www\"\n", "numbers"),
        ("image = \"web:1\"\nimage_digest = \"sha256:AA\"\n", "64 digits"),
        (
            "image = \"web:1\"\nmounts = [{ source = \"/a/../etc\", target = \"/b\" }]\n",
            "without ..",
        ),
        ("image = \"web:1\"\nmounts = [{ source = \"/a\", target = \"/\" }]\n", "no target /"),
        ("image = \"web:1\"\nmounts = [{ source = \"a\", target = \"/b\" }]\n", "absolute"),
    ] {
        let said = parse_template(bad).expect_err(bad);
        assert!(said.contains(why), "{bad:?}: {said}");
    }
}
