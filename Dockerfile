# The image of every service: driver, Ray nodes and the MLflow server.
FROM python:3.11.11-slim-bookworm

# torch: pass --build-arg PIP_ARGS="--extra-index-url URL" to choose a CPU or CUDA build.
ARG PIP_ARGS=""
ENV PIP_NO_CACHE_DIR=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    RAY_USAGE_STATS_ENABLED=0

WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY deq deq
COPY sweeps sweeps
COPY conf conf
RUN PIP_CONSTRAINT=/app/constraints.txt pip install -c constraints.txt ${PIP_ARGS} . \
    && useradd --create-home --uid 1000 sweeps \
    && mkdir -p /data \
    && chown sweeps /data
USER sweeps
WORKDIR /data
