# Two ways to an image:
#   docker build -t flotilla:0.1.0 .    builds the binary in the first stage
#   make image                          copies the binary that make has built; no compiler, no network
# The second way gives the first stage BASE_IMAGE instead of a Rust image, and a folder with nothing but the binary. The C
# library that the binary was linked with must not be newer than the one of BASE_IMAGE.
ARG BASE_IMAGE=debian:12.12-slim
ARG BUILD_IMAGE=rust:1.95-bookworm

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY . .
RUN if [ ! -x flotilla ]; then \
        apt-get update && apt-get install -y --no-install-recommends clang libclang-dev && \
        cargo build --release --locked --target-dir /target -p node --bin flotilla && \
        cp /target/release/flotilla flotilla; \
    fi

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="Flotilla" \
      org.opencontainers.image.description="A Prometheus-compatible metrics service that loses nothing" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --uid 10001 --user-group --no-create-home flotilla && \
    install -d -o flotilla -g flotilla /data
COPY --from=build /src/flotilla /usr/local/bin/flotilla
ENV FLOTILLA_NODE__DATA=/data
USER flotilla
VOLUME /data
EXPOSE 9480 9481
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s CMD ["flotilla", "health", "http://127.0.0.1:9480/-/ready"]
ENTRYPOINT ["flotilla"]
CMD ["serve", "--bootstrap"]
