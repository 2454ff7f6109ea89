# wsecho, and nothing else: docker build -t wsecho .
# The recipe is the same for every architecture that Rust has glibc for: x86_64 is tested (tests/packaging/image);
# arm64 (docker build --platform linux/arm64 .) is not.

FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
# With --target the flag is for the server, and not for what runs in the compiler.
RUN RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --locked --bin wsecho --target "$(uname -m)-unknown-linux-gnu"
RUN cp "target/$(uname -m)-unknown-linux-gnu/release/wsecho" .

FROM scratch
COPY --from=build /src/wsecho /wsecho
USER 65534:65534
EXPOSE 8087
ENTRYPOINT ["/wsecho", "--policy", "off"]
