# One static binary and nothing else. How to build it without a registry, and its bill of materials: docs/install.md.
#
# The builder is any image with Rust (rust-version of Cargo.toml or newer), a C compiler and CMake.
ARG BUILDER=rust:1-bookworm
FROM ${BUILDER} AS build
WORKDIR /src
COPY . .
# Static: a container of ours has no libraries. The target is named so that build scripts are not linked that way too.
RUN target=$(rustc -vV | sed -n 's/^host: //p') \
 && RUSTFLAGS='-C target-feature=+crt-static' \
    cargo build --release --locked --package cli --bin palisade --target "$target" \
 && install -D "target/$target/release/palisade" /rootfs/palisade \
 && strip /rootfs/palisade \
 && mkdir -p /rootfs/etc /rootfs/run /rootfs/var/lib \
 && echo 'root:x:0:0:root:/:/sbin/nologin' > /rootfs/etc/passwd \
 && echo 'palisade:x:65532:65532:palisade:/:/sbin/nologin' >> /rootfs/etc/passwd

FROM scratch AS image
COPY --from=build /rootfs /
# The controller's user. The parts of an agent ask for root in their pods.
USER 65532:65532
ENTRYPOINT ["/palisade"]
