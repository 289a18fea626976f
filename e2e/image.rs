//! `cargo lab image`: the image of the product as an OCI archive, and its bill of materials. No registry is asked for
//! anything: the Dockerfile's last stage takes a program that was built here as its first stage would build it.
//!
//! What comes out is looked at: the program is static, and starts as the image's user, which is not root.

use crate::command::{attempt, run as command, said};
use crate::install;
use crate::kubebox::cache_dir;
use crate::product::{TREE, cargo};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Of files.
const NAME: &str = "palisade";
/// Name of the product's image, in full: `palisade` of the chart means this, and containerd looks for nothing shorter. The
/// tag is the version, as the chart expects it.
pub const REPOSITORY: &str = "docker.io/library/palisade";
/// Of which tool for the bill of materials.
const CYCLONEDX: &str = "0.5.9";
/// Whoever cannot be found in an image is nobody; the Dockerfile says the same.
const PASSWD: &str =
    "root:x:0:0:root:/:/sbin/nologin\npalisade:x:65532:65532:palisade:/:/sbin/nologin\n";

/// An image that was made.
#[derive(Debug, Clone)]
pub struct Made {
    /// The OCI archive.
    pub archive: PathBuf,
    /// `NAME:TAG`.
    pub reference: String,
}

/// One that was made before, by its archive.
pub fn made_before(archive: &Path) -> Result<Made> {
    let index = command("tar", &["-xOf", &archive.display().to_string(), "index.json"])?;
    let index: Value = serde_json::from_str(&index)?;
    let said = &index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"];
    let reference = said.as_str().context("the archive names no image")?.to_owned();
    Ok(Made { archive: archive.to_owned(), reference })
}

/// A version before this one.
#[derive(Debug, Clone)]
pub struct Earlier {
    /// Its files, with its chart.
    pub tree: PathBuf,
    /// Made of them.
    pub image: Made,
}

/// The version of a commit of this repository; built once, tagged with its short name.
pub fn of_commit(commit: &str) -> Result<Earlier> {
    let asked = ["-C", TREE, "rev-parse", "--verify", "--short=9", &format!("{commit}^{{commit}}")];
    let name = command("git", &asked).context("an earlier version is a commit or a tag")?;
    let name = name.trim();
    let tree = target().join("earlier").join(name);
    if !tree.exists() {
        fs::create_dir_all(&tree)?;
        let files = tree.with_extension("tar");
        let (to, from) = (files.display().to_string(), tree.display().to_string());
        command("git", &["-C", TREE, "archive", "--output", &to, name])?;
        command("tar", &["-xf", &to, "-C", &from])?;
        fs::remove_file(&files)?;
    }
    let archive = tree.join(format!("{NAME}-{name}.tar"));
    let image = match made_before(&archive) {
        Ok(made) => made,
        Err(_) => make(&tree, Some(&build(&tree)?), Some(name))?,
    };
    Ok(Earlier { tree, image })
}

/// Makes the image in `out`; `program` is one that was built elsewhere. Tag: the version unless said.
pub fn make(out: &Path, program: Option<&Path>, tag: Option<&str>) -> Result<Made> {
    let version = tag.unwrap_or(env!("CARGO_PKG_VERSION"));
    tools()?;
    let program = match program {
        Some(program) => program.to_owned(),
        None => build(TREE.as_ref())?,
    };
    fs::create_dir_all(out).with_context(|| format!("making {}", out.display()))?;
    let out = fs::canonicalize(out)?;
    let root = out.join("image-root");
    let _ = fs::remove_dir_all(&root);
    let files = root.join("rootfs");
    for folder in ["etc", "run", "var/lib"] {
        fs::create_dir_all(files.join(folder))?;
    }
    fs::write(files.join("etc/passwd"), PASSWD)?;
    let own = files.join("palisade");
    fs::copy(&program, &own).with_context(|| format!("copying {}", program.display()))?;
    fs::set_permissions(&own, fs::Permissions::from_mode(0o755))?;
    command("strip", &[&own.display().to_string()])?;
    require_static(&fs::read(&own)?).with_context(|| program.display().to_string())?;
    let archive = out.join(format!("{NAME}-{version}.tar"));
    let reference = format!("{REPOSITORY}:{version}");
    let context = format!("build={}", root.display());
    bud(&archive, &reference, &["--target", "image", "--build-context", &context, TREE])?;
    fs::remove_dir_all(&root)?;
    Ok(Made { archive, reference })
}

/// Makes it, looks at it, lists what is in it, and says so.
pub fn run(out: &Path, program: Option<&Path>, tag: Option<&str>) -> Result<()> {
    let made = make(out, program, tag)?;
    let look = out.join("image-look");
    let (user, version) = try_as_its_user(&made.archive, &look)?;
    let listed = bill_of_materials(out)?;
    let size = fs::metadata(&made.archive)?.len();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let program = fs::metadata(look.join("root/palisade"))?.len();
    fs::remove_dir_all(&look)?;
    println!("{:<9} {}", "image", made.reference);
    println!("{:<9} {} ({:.1} MiB)", "archive", made.archive.display(), mib(size));
    println!("{:<9} static, {:.1} MiB, says `{version}` as user {user}", "program", mib(program));
    println!("{:<9} {} ({} components)", "contents", listed.0.display(), listed.1);
    Ok(())
}

/// An image of one program and the libraries that it asks for, FROM scratch: for the lab's own.
pub fn of_one_program(program: &Path, archive: &Path, reference: &str) -> Result<()> {
    tools()?;
    let work = archive.with_extension("work");
    let _ = fs::remove_dir_all(&work);
    let files = work.join("files");
    fs::create_dir_all(&files)?;
    let name = program.file_name().and_then(|n| n.to_str()).context("a program has a name")?;
    fs::copy(program, files.join(name))?;
    command("strip", &[&files.join(name).display().to_string()])?;
    // It says so, and fails, of a static program.
    let asked = attempt("ldd", &[&program.display().to_string()])?;
    let asked = String::from_utf8_lossy(&asked.stdout).into_owned();
    for library in asked.split_whitespace().filter(|word| word.starts_with('/')) {
        let to = files.join(library.trim_start_matches('/'));
        fs::create_dir_all(to.parent().context("a folder")?)?;
        fs::copy(library, &to).with_context(|| format!("copying {library}"))?;
    }
    let lines = format!("FROM scratch\nCOPY files /\nENTRYPOINT [\"/{name}\"]\n");
    fs::write(work.join("Dockerfile"), lines)?;
    bud(archive, reference, &[&work.display().to_string()])?;
    fs::remove_dir_all(&work).context("removing the image's folder")
}

fn tools() -> Result<()> {
    let wanted = [("buildah", "buildah"), ("strip", "binutils")];
    let missing: Vec<&str> =
        wanted.iter().filter(|(p, _)| !install::has(p)).map(|(_, p)| *p).collect();
    install::debian(&missing)
}

/// As the Dockerfile builds it: the target is named so that build scripts are not linked that way too.
fn build(tree: &Path) -> Result<PathBuf> {
    let host = command("rustc", &["-vV"])?;
    let host = host.lines().find_map(|l| l.strip_prefix("host: ")).context("rustc's host")?;
    let flags = "-C target-feature=+crt-static";
    let target = target();
    eprintln!("image: building palisade, static, in {}", tree.display());
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--release", "--locked", "--package", "cli", "--bin", "palisade"])
        .args(["--target", host])
        .env("RUSTFLAGS", flags)
        .env("CARGO_TARGET_DIR", &target)
        .current_dir(tree)
        .stdin(Stdio::null())
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("building palisade failed: its output stands above");
    }
    Ok(target.join(host).join("release/palisade"))
}

fn target() -> PathBuf {
    let said = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let said = said.and_then(|path| std::path::absolute(path).ok());
    said.unwrap_or_else(|| Path::new(TREE).join("target"))
}

/// `buildah bud`, into an archive; its own storage lies beside it and goes at the end.
fn bud(archive: &Path, reference: &str, arguments: &[&str]) -> Result<()> {
    let storage = archive.with_extension("storage");
    let _ = fs::remove_dir_all(&storage);
    fs::create_dir_all(&storage)?;
    let (root, runroot) = (storage.join("root"), storage.join("run"));
    let (root, runroot) = (root.display().to_string(), runroot.display().to_string());
    let own = ["--storage-driver", "vfs", "--root", &root, "--runroot", &runroot];
    let buildah = |verb: &[&str]| command("buildah", &[&own[..], verb].concat());
    // A time that is not now: the same files make the same image.
    let bud = ["bud", "--isolation", "chroot", "--timestamp", "0", "--tag", reference];
    let made = buildah(&[&bud[..], arguments].concat()).and_then(|_| {
        let _ = fs::remove_file(archive);
        let to = format!("oci-archive:{}:{reference}", archive.display());
        buildah(&["push", reference, &to])
    });
    fs::remove_dir_all(&storage).context("removing buildah's storage")?;
    made.map(drop)
}

/// Refuses a program that asks for a loader.
fn require_static(elf: &[u8]) -> Result<()> {
    const INTERPRETER: u32 = 3;
    let number = |at: usize, size: usize| -> Result<u64> {
        let bytes = elf.get(at..at + size).context("a program that is cut off")?;
        Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    };
    if elf.get(..6) != Some(b"\x7fELF\x02\x01") {
        bail!("no program of 64 bits, little end first");
    }
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for entry in 0..count {
        if number((table + entry * size) as usize, 4)? == u64::from(INTERPRETER) {
            bail!(
                "it asks for a loader, and the image has none: build it with \
                 RUSTFLAGS='-C target-feature=+crt-static' and --target"
            );
        }
    }
    Ok(())
}

/// Unpacks the image and starts it as its own user, in its own files. Gives that user and what it said.
fn try_as_its_user(archive: &Path, look: &Path) -> Result<(String, String)> {
    let _ = fs::remove_dir_all(look);
    let (root, blobs) = (look.join("root"), look.join("oci"));
    fs::create_dir_all(&root)?;
    fs::create_dir_all(&blobs)?;
    let unpack = |from: &Path, to: &Path| {
        command("tar", &["-xf", &from.display().to_string(), "-C", &to.display().to_string()])
    };
    unpack(archive, &blobs)?;
    let blob = |digest: &Value| -> Result<PathBuf> {
        let digest = digest.as_str().context("a digest")?;
        Ok(blobs.join("blobs").join(digest.replacen(':', "/", 1)))
    };
    let json = |path: &Path| -> Result<Value> { Ok(serde_json::from_slice(&fs::read(path)?)?) };
    let index = json(&blobs.join("index.json"))?;
    let manifest = json(&blob(&index["manifests"][0]["digest"])?)?;
    let config = json(&blob(&manifest["config"]["digest"])?)?;
    for layer in manifest["layers"].as_array().context("layers")? {
        unpack(&blob(&layer["digest"])?, &root)?;
    }
    let user = config["config"]["User"].as_str().unwrap_or_default().to_owned();
    if user.split(':').next().is_none_or(|u| u.is_empty() || u == "0" || u == "root") {
        bail!("the image's user is {user:?}: it must not be root");
    }
    let entry = config["config"]["Entrypoint"][0].as_str().context("an entry point")?;
    let as_user = format!("--userspec={user}");
    let output = attempt("chroot", &[&as_user, &root.display().to_string(), entry, "--version"])?;
    if !output.status.success() {
        bail!("{entry} does not start as {user}: {}", said(&output));
    }
    Ok((user, String::from_utf8_lossy(&output.stdout).trim().to_owned()))
}

/// What the program is made of, by CycloneDX's own tool from Cargo's lock file. Gives the file and how many components.
fn bill_of_materials(out: &Path) -> Result<(PathBuf, usize)> {
    let tool = cyclonedx()?;
    let host = command("rustc", &["-vV"])?;
    let host = host.lines().find_map(|l| l.strip_prefix("host: ")).context("rustc's host")?;
    let manifest = format!("{TREE}/src/cli/Cargo.toml");
    // It writes beside the manifest of each crate that it describes.
    let name = "palisade-bill-of-materials";
    let arguments =
        ["cyclonedx", "--format", "json", "--target", host, "--manifest-path", &manifest];
    command(
        &tool.display().to_string(),
        &[&arguments[..], &["--override-filename", name]].concat(),
    )?;
    let mut found = None;
    for entry in fs::read_dir(format!("{TREE}/src"))?.chain(fs::read_dir(TREE)?) {
        let made = entry?.path().join(format!("{name}.json"));
        if !made.is_file() {
            continue;
        }
        if made.starts_with(format!("{TREE}/src/cli")) {
            let to = out.join(format!("{NAME}-{}.cdx.json", env!("CARGO_PKG_VERSION")));
            fs::copy(&made, &to)?;
            found = Some(to);
        }
        fs::remove_file(&made)?;
    }
    let file = found.context("cargo-cyclonedx wrote no list for src/cli")?;
    let list: Value = serde_json::from_slice(&fs::read(&file)?)?;
    let components = list["components"].as_array().map_or(0, Vec::len);
    if components == 0 {
        bail!("{} lists nothing", file.display());
    }
    Ok((file, components))
}

fn cyclonedx() -> Result<PathBuf> {
    let folder = cache_dir()?.join(format!("cargo-cyclonedx-{CYCLONEDX}"));
    let tool = folder.join("bin/cargo-cyclonedx");
    if !tool.is_file() {
        eprintln!("image: building cargo-cyclonedx {CYCLONEDX} (some minutes, once)");
        let root = folder.display().to_string();
        let install = ["install", "--quiet", "--locked", "--root", &root];
        cargo(&[&install[..], &["cargo-cyclonedx", "--version", CYCLONEDX]].concat())?;
    }
    Ok(tool)
}

/// The image of a pod's first process, which the lab's containerd wants.
pub fn pause(archive: &Path, programs: &Path) -> Result<()> {
    of_one_program(&programs.join("pause"), archive, PAUSE)
}

/// Its name.
pub const PAUSE: &str = "lab.invalid/pause:1";

/// The name of this program's own image, which a service that comes as one is.
pub const SERVICE: &str = "lab.invalid/e2e:1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_a_loader_is_refused_and_one_without_is_not() {
        let own = fs::read(std::env::current_exe().expect("this program")).expect("read");
        let refused = require_static(&own).expect_err("tests are linked dynamically");
        assert!(refused.to_string().contains("crt-static"), "{refused}");

        // Its own head, with every segment made something else.
        let mut without = own;
        let table = u64::from_le_bytes(without[32..40].try_into().expect("eight")) as usize;
        let size = u16::from_le_bytes([without[54], without[55]]) as usize;
        let count = u16::from_le_bytes([without[56], without[57]]) as usize;
        for entry in 0..count {
            without[table + entry * size] = 1;
        }
        require_static(&without).expect("no segment names a loader");
        assert!(require_static(b"#!/bin/sh").is_err());
    }
}
