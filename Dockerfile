# The image of every service: driver, Ray nodes and the MLflow server.
FROM python:3.11.11-slim-bookworm

# torch: pass --build-arg PIP_ARGS="--extra-index-url URL" to choose a CPU or CUDA build.
ARG PIP_ARGS=""
ENV PIP_NO_CACHE_DIR=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    RAY_USAGE_STATS_ENABLED=0

WORKDIR /app
# The dependencies first: an edit of the code does not install their 2 GB again.
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" > dependencies.txt \
    && PIP_CONSTRAINT=/app/constraints.txt pip install -c constraints.txt ${PIP_ARGS} -r dependencies.txt \
    && useradd --create-home --uid 1000 sweeps \
    && mkdir -p /data \
    && chown sweeps /data
COPY README.md LICENSE ./
COPY conf conf
COPY deq deq
COPY sweeps sweeps
RUN PIP_CONSTRAINT=/app/constraints.txt pip install --no-deps ${PIP_ARGS} .
COPY deploy/containers /app/deploy
# Recorded with every result; `make image` sets it.
ARG COMMIT=""
ENV SWEEPS_COMMIT=${COMMIT}
USER sweeps
WORKDIR /data
