# The `aiki` command, which includes the server: docker build -t aiki .
# Debian with glibc, because the tests run on it. Node 24, because SQLite is built into it.
ARG NODE=24

FROM node:${NODE}-slim AS manifests
WORKDIR /aiki
COPY package.json package-lock.json .npmrc ./
COPY dashboard/package.json dashboard/
COPY packages/lib/package.json packages/lib/
COPY packages/redis/package.json packages/redis/
COPY packages/workflow/package.json packages/workflow/
COPY packages/client/package.json packages/client/
COPY packages/worker/package.json packages/worker/
COPY packages/server/package.json packages/server/
COPY packages/cli/package.json packages/cli/

FROM manifests AS build
RUN npm ci --ignore-scripts --workspace @aikirun/cli --workspace @aikirun/dashboard --include-workspace-root
COPY tsconfig.base.json ./
COPY packages packages
COPY dashboard dashboard
RUN npx tsc -b packages/cli && npx tsx dashboard/build.ts

# The files of the image: no sources, no development dependencies, and no SQLite package, which only older Nodes need.
FROM manifests AS production
RUN npm ci --ignore-scripts --omit=dev --workspace @aikirun/cli
RUN rm -r node_modules/@photostructure
COPY --from=build /aiki/packages/lib/dist packages/lib/dist
COPY --from=build /aiki/packages/redis/dist packages/redis/dist
COPY --from=build /aiki/packages/workflow/dist packages/workflow/dist
COPY --from=build /aiki/packages/client/dist packages/client/dist
COPY --from=build /aiki/packages/worker/dist packages/worker/dist
COPY --from=build /aiki/packages/server/dist packages/server/dist
COPY --from=build /aiki/packages/cli/dist packages/cli/dist
COPY packages/cli/bin packages/cli/bin

# All files belong to root and are only read: the server writes only its log. 1000 is the user "node".
FROM node:${NODE}-slim
ENV NODE_ENV=production
ENV AIKI_HOST=0.0.0.0
ENV AIKI_AUTH=true
WORKDIR /aiki
COPY --from=production /aiki ./
USER 1000:1000
EXPOSE 9090
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:9090/health/ready').then((reply) => process.exit(reply.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "packages/cli/bin/aiki.js"]
CMD ["server"]
