# syntax=docker/dockerfile:1

# Go's own cross-compiler makes the binary on the builder's platform, so that no emulator is needed:
#   docker buildx build --platform linux/amd64,linux/arm64 -t IMAGE .
FROM --platform=$BUILDPLATFORM golang:1.26.8 AS build
WORKDIR /src

COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod \
    go mod download

COPY . .
ENV GOCACHE=/go/build-cache
ARG TARGETOS TARGETARCH
RUN --mount=type=cache,target=/go/pkg/mod \
    --mount=type=cache,target=/go/build-cache \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -ldflags="-s -w" -o /out/manager .

# CA certificates, time zones and a user without rights; no shell.
FROM gcr.io/distroless/static-debian13:nonroot
ARG VERSION=unknown REVISION=unknown
LABEL org.opencontainers.image.title="session-controller" \
      org.opencontainers.image.description="Login sessions of payment and POS terminals as Kubernetes resources" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.base.name="gcr.io/distroless/static-debian13:nonroot"
COPY --from=build /out/manager /manager
# In figures, so that runAsNonRoot can be checked.
USER 65532:65532
EXPOSE 8081 8443 9443
ENTRYPOINT ["/manager"]
