# syntax=docker/dockerfile:1
# One image with the three services and the all-in-one program; compose.yaml chooses which one a container runs.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The caches keep the registry and compiled dependencies between builds, so a change rebuilds only its own crates.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --release --locked --bin pay-service --bin notifier --bin account-service --bin ringback \
    && mkdir -p /out/bin /out/data \
    && cp target/release/pay-service target/release/notifier target/release/account-service target/release/ringback /out/bin/

# C library, certificates and a user of number 65532, but no shell and no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="Ringback" \
      org.opencontainers.image.description="Tells other systems the result of a payment, and keeps ringing until they answer" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=build /out/bin/ /usr/local/bin/
# For the all-in-one program on SQLite: mount a volume here. The services on Postgres write nothing.
COPY --from=build --chown=nonroot:nonroot /out/data /data
WORKDIR /data
USER nonroot
EXPOSE 8081 8082 8083
CMD ["/usr/local/bin/ringback"]
