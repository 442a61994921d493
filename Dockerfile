# The service and the worker: `creditgate serve` and `creditgate worker`, as a user without rights.
# See docs/service.md and docs/worker.md.
FROM python:3.13-slim AS build

WORKDIR /source
COPY pyproject.toml hatch_build.py creditgate.py README.md LICENSE config.example.yaml ./
COPY runtime ./runtime
COPY pricing ./pricing
COPY fallback ./fallback
COPY providers ./providers
RUN python -m venv /opt/creditgate \
    && /opt/creditgate/bin/pip install --no-cache-dir ".[serve,worker,postgres,speed,stripe,otel]"

FROM python:3.13-slim

RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin creditgate \
    && install -d -o creditgate -g creditgate -m 0700 /data
COPY --from=build /opt/creditgate /opt/creditgate
ENV PATH=/opt/creditgate/bin:$PATH PYTHONDONTWRITEBYTECODE=1
USER creditgate
WORKDIR /data
VOLUME /data
EXPOSE 8320 8321
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD \
    ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8320/healthz', timeout=2)"]
# PID 1 gets the SIGTERM itself: executions that run are answered before it ends.
ENTRYPOINT ["creditgate"]
CMD ["serve", "--config", "/etc/creditgate/config.yaml", "--host", "0.0.0.0", "--port", "8320"]
