# parley, and nginx with its configuration. docker-compose.yml builds both targets.
FROM debian:bookworm-slim AS build
WORKDIR /parley
# First what is needed, so that a change of the source does not install it again.
COPY tests/stack/install tests/stack/install
RUN bash tests/stack/install build && rm -rf /var/lib/apt/lists/*
COPY Makefile ./
COPY include include
COPY src src
COPY docs/openapi.json docs/api.html docs/status.html docs/
RUN make -s -j"$(nproc)" BUILD=out out/parley

FROM debian:bookworm-slim AS parley
# libfcgi-bin has cgi-fcgi, with which the health check asks the operations socket.
RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        libfcgi0ldbl libfcgi-bin libpq5 libhiredis0.14 libsodium23 && \
    rm -rf /var/lib/apt/lists/*
# The same numbers in both images: nginx opens the sockets as the user that owns them.
RUN groupadd --gid 10001 parley && \
    useradd --uid 10001 --gid parley --no-create-home --shell /usr/sbin/nologin parley && \
    install -d -o parley -g parley -m 0750 /run/parley
COPY --from=build /parley/out/parley /usr/local/bin/parley
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title=parley org.opencontainers.image.licenses=MIT \
      org.opencontainers.image.description="A session server for chatbots" \
      org.opencontainers.image.version=$VERSION org.opencontainers.image.revision=$REVISION
USER parley
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 \
    CMD admin=${PARLEY_ADMIN:-/run/parley/admin.sock}; env -i REQUEST_METHOD=GET REQUEST_URI=/readyz \
        REMOTE_ADDR=127.0.0.1 PARLEY_END=1 cgi-fcgi -bind -connect "${admin#tcp://}" </dev/null | \
        grep -q '^Status: 200'
ENTRYPOINT ["parley"]
CMD ["serve"]

FROM nginx:1.27 AS nginx
COPY nginx/*.conf /etc/nginx/
COPY nginx/console /usr/share/parley/console
# As an ordinary user it cannot listen below 1024. The checkout may be readable by its owner only.
RUN sed -i 's/listen      80 /listen 8080 /' /etc/nginx/parley.conf && \
    grep -q 'listen 8080 ' /etc/nginx/parley.conf && \
    chmod -R a+rX /etc/nginx /usr/share/parley && install -d -o 10001 -g 10001 -m 0750 /run/parley
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title=parley-nginx org.opencontainers.image.licenses=MIT \
      org.opencontainers.image.description="nginx with its configuration for parley" \
      org.opencontainers.image.version=$VERSION org.opencontainers.image.revision=$REVISION
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 \
    CMD curl -fsS -o /dev/null http://127.0.0.1:8080/readyz
CMD ["nginx", "-g", "daemon off;"]
